#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The portable package, made of BUILD_DIR and used as on a foreign machine: package_test.sh BUILD_DIR TORCH_LIB [--gpu].
# Without --gpu: its programs find their libraries in it and nothing else, its worker finds LibTorch or says what to do, and
# tests/gpu/run.sh trains with it on the CPU. With --gpu: tests/gpu/run.sh on the GPU. Exit code 77: cannot run here.
set -uo pipefail
build=$1 torch=$2 mode=${3:-}
root=$(cd "$(dirname "$0")/../.." && pwd)
failed=0
fail() { echo "FAIL: $*"; failed=1; }
skip() { echo "SKIP: $*"; exit 77; }

if [ "$mode" = --gpu ]; then
  [ -e /dev/nvidiactl ] || [ -e /dev/nvidia0 ] || [ -e /dev/dxg ] || skip "no NVIDIA GPU on this machine"
fi
[ -e "$torch/libtorch_cpu.so" ] || skip "no LibTorch in $torch: run deploy/install_dependencies.sh"
for program in trainerd trainctl trainerd-shim trainerd-inspect trainerd-worker; do
  [ -x "$build/bin/$program" ] || skip "$build/bin/$program is not built"
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$root/deploy/package.sh" --from "$build" --output "$work/package.tar.gz" >/dev/null || { echo "FAIL: deploy/package.sh"; exit 1; }
tar -C "$work" -xzf "$work/package.tar.gz"
package=$(echo "$work"/trainerd-*-linux-x86_64)
# A foreign machine: no variable of this one, no libraries in the environment.
clean() { env -i PATH=/usr/bin:/bin HOME="$work" TMPDIR="$work" PYTHONDONTWRITEBYTECODE=1 "$@"; }

if [ "$mode" = --gpu ]; then
  clean TRAINERD_TORCH_LIB="$torch" "$package/tests/gpu/run.sh"
  exit $?
fi

# ---------------------------------------------------------------- libraries
system='linux-vdso|/ld-linux-x86-64|/lib(c|m|mvec|dl|pthread|rt|resolv|util)\.so\.'
checked=0
for program in "$package"/bin/{trainerd,trainctl,trainerd-shim,trainerd-inspect} "$package"/libexec/trainerd-worker "$package"/lib/*; do
  foreign=$(clean LD_LIBRARY_PATH="$torch" ldd "$program" | grep -vE "$system|=> $work|=> $(dirname "$(dirname "$torch")")/|statically linked")
  [ -z "$foreign" ] || fail "$(basename "$program") takes from this machine: $foreign"
  checked=$((checked + 1))
done
for program in trainerd trainctl trainerd-shim trainerd-inspect; do
  clean "$package/bin/$program" --help >/dev/null || fail "$program --help ended with $?"
done

# ---------------------------------------------------------------- how the worker finds LibTorch
expect() { # TEXT COMMAND…: must fail and say TEXT
  local text=$1 out
  shift
  if out=$("$@" 2>&1 </dev/null); then fail "$*: succeeded"; fi
  [[ $out == *"$text"* ]] || fail "$*: says \"$out\" and not \"$text\""
}
mkdir -p "$work/none" "$work/old/torch/lib" "$work/site"
touch "$work"/old/torch/lib/{libtorch_cpu.so,libc10.so} "$work/old/torch/__init__.py"
echo "__version__ = '2.10.1+cpu'" > "$work/old/torch/version.py"
ln -s "$(dirname "$torch")" "$work/site/torch"
ln -s "$(dirname "$(dirname "$torch")")/nvidia" "$work/site/nvidia"
worker=$package/bin/trainerd-worker
expect "libtorch_cpu.so is not in $work/none" clean TRAINERD_TORCH_LIB="$work/none" "$worker" devices
expect "belongs to PyTorch 2.10.1+cpu" clean TRAINERD_TORCH_LIB="$work/old/torch/lib" "$worker" devices
expect "belongs to PyTorch 2.10.1+cpu" clean PYTHONPATH="$work/old" "$worker" devices
# No python3 at all: a PATH that has only what the launcher itself calls.
mkdir "$work/tools"
for tool in sh readlink dirname sed cat; do ln -s "$(command -v $tool)" "$work/tools/$tool"; done
expect "no PyTorch" env -i PATH="$work/tools" "$worker" devices
for setting in "TRAINERD_TORCH_LIB=$torch" "PYTHONPATH=$work/site"; do
  found=$(clean "$setting" "$worker" devices) || fail "devices with $setting ended with $?"
  [[ $found == *'"cpu"'* ]] || fail "devices with $setting printed $found"
done
# Through a link in another folder, from another folder.
ln -s "$worker" "$work/worker"
(cd / && clean TRAINERD_TORCH_LIB="$torch" "$work/worker" --version >/dev/null) || fail "the worker does not start through a link"

# ---------------------------------------------------------------- training with it
report=$(clean TRAINERD_TORCH_LIB="$torch" "$package/tests/gpu/run.sh" --device cpu --parts agreement,job) || fail "tests/gpu/run.sh --device cpu: $report"
expect "tests/gpu/run.sh there" "$root/tests/gpu/run.sh" --device cpu
expect "--parts: x is not known" clean TRAINERD_TORCH_LIB="$torch" "$package/tests/gpu/run.sh" --device cpu --parts x

[ $failed = 0 ] && echo "the package works: $(stat -c %s "$work/package.tar.gz") bytes, $checked programs and libraries"
exit $failed
