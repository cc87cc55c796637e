#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds the portable package from BUILD_DIR and uses it as another machine would:
# package_test.sh BUILD_DIR TORCH_LIB [--gpu].
# Without --gpu: the programs use only the package's libraries, the worker finds LibTorch or reports
# what to do, and tests/gpu/run.sh trains on the CPU. With --gpu: tests/gpu/run.sh checks the GPU.
# Exit code 77: the test cannot run on this machine.
set -uo pipefail
build=$1 torch=$2 mode=${3:-}
root=$(cd "$(dirname "$0")/../.." && pwd)
failed=0
fail() { echo "FAIL: $*"; failed=1; }
skip() { echo "SKIP: $*"; exit 77; }

if [ "$mode" = --gpu ]; then
  [ -e /dev/nvidiactl ] || [ -e /dev/nvidia0 ] || [ -e /dev/dxg ] ||
    skip "this machine has no NVIDIA GPU"
fi
[ -e "$torch/libtorch_cpu.so" ] || skip "no LibTorch in $torch: run deploy/install_dependencies.sh"
for program in trainerd trainctl trainerd-shim trainerd-inspect trainerd-worker; do
  [ -x "$build/bin/$program" ] || skip "$build/bin/$program is not built"
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$root/deploy/package.sh" --from "$build" --output "$work/package.tar.gz" >/dev/null
case $? in
  0) ;;
  77) skip "deploy/package.sh makes no package on this system" ;;
  *) echo "FAIL: deploy/package.sh"; exit 1 ;;
esac
tar -C "$work" -xzf "$work/package.tar.gz"
package=$(echo "$work"/trainerd-*-linux-x86_64)
# Another machine: no variable of this one, no libraries in the environment.
clean() { env -i PATH=/usr/bin:/bin HOME="$work" TMPDIR="$work" PYTHONDONTWRITEBYTECODE=1 "$@"; }

if [ "$mode" = --gpu ]; then
  clean TRAINERD_TORCH_LIB="$torch" "$package/tests/gpu/run.sh"
  exit $?
fi

# ---------------------------------------------------------------- libraries
system='linux-vdso|/ld-linux-x86-64|/lib(c|m|mvec|dl|pthread|rt|resolv|util|stdc\+\+|gcc_s)\.so\.'
checked=0
site=$(dirname "$(dirname "$torch")")
for program in "$package"/bin/{trainerd,trainctl,trainerd-shim,trainerd-inspect} \
  "$package"/libexec/trainerd-worker "$package"/lib/*; do
  foreign=$(clean LD_LIBRARY_PATH="$torch" ldd "$program" |
    grep -vE "$system|=> $work|=> $site/|statically linked")
  [ -z "$foreign" ] || fail "$(basename "$program") uses libraries of this machine: $foreign"
  checked=$((checked + 1))
done
for program in trainerd trainctl trainerd-shim trainerd-inspect; do
  clean "$package/bin/$program" --help >/dev/null || fail "$program --help: exit code $?"
done

# Their own copies would need the glibc of this system, and hide newer ones of the user's.
for library in "$package"/lib/lib{stdc++,gcc_s}*; do
  [ ! -e "$library" ] || fail "the package has $(basename "$library")"
done

# ---------------------------------------------------------------- how the worker finds LibTorch
expect() { # TEXT COMMAND…: the command must fail and print TEXT
  local text=$1 out
  shift
  if out=$("$@" 2>&1 </dev/null); then fail "$*: succeeded"; fi
  [[ $out == *"$text"* ]] || fail "$*: printed \"$out\" instead of \"$text\""
}
mkdir -p "$work/none" "$work/old/torch/lib" "$work/site"
touch "$work"/old/torch/lib/{libtorch_cpu.so,libc10.so} "$work/old/torch/__init__.py"
echo "__version__ = '2.10.1+cpu'" > "$work/old/torch/version.py"
ln -s "$(dirname "$torch")" "$work/site/torch"
ln -s "$(dirname "$(dirname "$torch")")/nvidia" "$work/site/nvidia"
worker=$package/bin/trainerd-worker
expect "libtorch_cpu.so is not in $work/none" \
  clean TRAINERD_TORCH_LIB="$work/none" "$worker" devices
expect "belongs to PyTorch 2.10.1+cpu" \
  clean TRAINERD_TORCH_LIB="$work/old/torch/lib" "$worker" devices
expect "belongs to PyTorch 2.10.1+cpu" clean PYTHONPATH="$work/old" "$worker" devices
# No python3: PATH has only the tools that the launcher calls.
mkdir "$work/tools"
for tool in sh readlink dirname sed cat; do ln -s "$(command -v $tool)" "$work/tools/$tool"; done
expect "no PyTorch" env -i PATH="$work/tools" "$worker" devices
for setting in "TRAINERD_TORCH_LIB=$torch" "PYTHONPATH=$work/site"; do
  found=$(clean "$setting" "$worker" devices) || fail "devices with $setting: exit code $?"
  [[ $found == *'"cpu"'* ]] || fail "devices with $setting printed $found"
done
# Started through a link, from another folder.
ln -s "$worker" "$work/worker"
(cd / && clean TRAINERD_TORCH_LIB="$torch" "$work/worker" --version >/dev/null) ||
  fail "the worker does not start through a link"

# ---------------------------------------------------------------- training with it
run=(clean TRAINERD_TORCH_LIB="$torch" "$package/tests/gpu/run.sh" --device cpu)
report=$("${run[@]}" --parts agreement,job --out "$work/report.json") ||
  fail "tests/gpu/run.sh --device cpu: $report"
[ "$report" = "$(cat "$work/report.json")" ] || fail "--out wrote another report than stdout"
expect "tests/gpu/run.sh there" "$root/tests/gpu/run.sh" --device cpu
expect "--parts: x is unknown" "${run[@]}" --parts x

# ---------------------------------------------------------------- a client from its protos
TRAINERD_PACKAGE_SHARE="$package/share" TRAINERD_BIN_DIR="$build/bin" \
  TRAINERD_FAKE_WORKER="$build/tests/fake_worker" PYTHONDONTWRITEBYTECODE=1 \
  PYTHONPATH="$root/tests/integration" \
  python3 "$root/tests/integration/jobs/python_client_test.py" >"$work/client.log" 2>&1 ||
  fail "the Python client of the package: $(tail -20 "$work/client.log")"

[ $failed = 0 ] &&
  echo "the package works: $(stat -c %s "$work/package.tar.gz") bytes," \
    "$checked programs and libraries"
exit $failed
