#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Makes build/trainerd-VERSION-linux-x86_64.tar.gz: trainerd for machines that have PyTorch 2.11 but not Debian's libraries.
#   --from DIR     take the programs of this build folder (for example build/dev); default: build the preset `portable` first
#   --output FILE  where the archive goes
# Exit code 77: the glibc of this system is newer than that of Debian 12, and the programs would need it.
# What a dev build and a portable build differ in is where the programs look for libraries, and that is set here anew for both.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
from="" output=""
limit_bytes=$((40 * 1000 * 1000))
# Those of Ubuntu 22.04. RHEL 9 has GLIBCXX_3.4.29, which the preset `portable` reaches: only libspdlog needs more.
newest_glibc=2.34 newest_glibcxx=3.4.30 newest_cxxabi=1.3.13 newest_gcc=11.0.0
build_glibc=2.36

say() { printf '[package] %s\n' "$*" >&2; }
die() { printf '[package] error: %s\n' "$*" >&2; exit 1; }
trap 'say "stopped at line $LINENO"' ERR
while [ $# -gt 0 ]; do
  case $1 in
    --from|--output) [ $# -ge 2 ] || { echo "package.sh: $1 needs a value" >&2; exit 2; }
      if [ "$1" = --from ]; then from=$2; else output=$2; fi; shift 2 ;;
    -h|--help) sed -n '3,7s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "package.sh: unknown argument $1 (see --help)" >&2; exit 2 ;;
  esac
done
for tool in patchelf strip objdump readelf ldd; do
  command -v $tool >/dev/null || die "$tool is not installed: run deploy/install_dependencies.sh"
done

is_newer() { [ "$1" != "$2" ] && [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | tail -1)" = "$1" ]; }
here_glibc=$(getconf GNU_LIBC_VERSION | sed 's/glibc //')
if is_newer "$here_glibc" $build_glibc; then
  say "this system has glibc $here_glibc, and programs built here do not run with an older one: run this on Debian 12 (glibc $build_glibc; a container is enough)"
  exit 77
fi
if [ -z "$from" ]; then
  newest_glibcxx=3.4.29
  (cd "$root" && cmake --preset portable >/dev/null && ninja -C build/portable -j "$(nproc)") || die "the portable preset does not build"
  from=$root/build/portable
fi
from=$(cd "$from" && pwd) || die "--from: no such folder"
for program in trainerd trainctl trainerd-shim trainerd-notify trainerd-inspect trainerd-worker; do
  [ -x "$from/bin/$program" ] || die "$from/bin/$program is not built"
done
! grep -q -e '-march=native' "$from/compile_commands.json" 2>/dev/null || die "$from was compiled for this CPU only (-march=native)"
version=$(sed -n 's/^project(trainerd VERSION \([0-9.]*\).*/\1/p' "$root/CMakeLists.txt")
name=trainerd-$version-linux-x86_64
output=${output:-$root/build/$name.tar.gz}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
to=$work/$name
mkdir -p "$to"/{bin,lib,libexec,share/{jobs,demo,licenses},tests/{bin,gpu,golden}}

# ---------------------------------------------------------------- files
cp "$from"/bin/{trainerd,trainctl,trainerd-shim,trainerd-notify,trainerd-inspect} "$to/bin/"
cp "$from/bin/trainerd-worker" "$to/libexec/"
if [ -e "$from/bin/libtrainerd_cuda.so" ]; then
  cp "$from/bin/libtrainerd_cuda.so" "$to/libexec/"
  # A program looks for the plugin beside itself, the engine's tests too.
  ln -s ../../libexec/libtrainerd_cuda.so "$to/tests/bin/libtrainerd_cuda.so"
else
  say "without the CUDA plugin: $from was built where there is no nvcc 13"
fi
install -m 755 "$root/deploy/package/trainerd-worker.sh" "$to/bin/trainerd-worker"
cp "$root/deploy/package/torch_env.sh" "$to/libexec/"
cp "$root/deploy/package/README.md" "$root/LICENSE" "$to/"
cp "$root"/deploy/jobs/*.yaml "$to/share/jobs/"
cp "$root"/deploy/demo/*.jsonl "$to/share/demo/"
"$root/deploy/package/copy_clients.sh" "$to/share"
cp "$root"/tests/gpu/{run.sh,*.py} "$to/tests/gpu/"
cp -r "$root"/tests/golden/{model,optim,adapter,training,tiny_model,tiny_tokenizer} "$to/tests/golden/"
find "$to/tests" -name __pycache__ -prune -exec rm -r {} +
if [ -x "$from/tests/engine_device_tests" ]; then
  cp "$from/tests/engine_device_tests" "$to/tests/bin/"
else
  say "without the engine's tests: $from has none"
fi

# ---------------------------------------------------------------- libraries
# Not copied: glibc, and the libraries of GCC, which every system with it has. A copy of Debian 12's would need its glibc.
from_system='^(linux-vdso|ld-linux-x86-64|libc|libm|libmvec|libdl|libpthread|librt|libresolv|libutil|libanl|libstdc\+\+|libgcc_s)\.so'
from_torch='^(libtorch_cpu|libtorch_cuda|libc10|libc10_cuda)\.so$|^libcudart\.so\.13$'
programs=("$to"/bin/{trainerd,trainctl,trainerd-shim,trainerd-notify,trainerd-inspect} "$to"/libexec/trainerd-worker "$to"/tests/bin/engine_device_tests)
[ -e "$to/libexec/libtrainerd_cuda.so" ] && programs+=("$to/libexec/libtrainerd_cuda.so")
for i in "${!programs[@]}"; do [ -e "${programs[$i]}" ] || unset "programs[$i]"; done
needed() { readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'; }
PATH=$PATH:/sbin:/usr/sbin ldconfig -p > "$work/known"
# Follows NEEDED by itself: ldd would also follow LibTorch, whose libraries are not ours to ship.
queue=("${programs[@]}")
while [ ${#queue[@]} -gt 0 ]; do
  next=()
  for file in "${queue[@]}"; do
    while read -r library; do
      [[ $library =~ $from_system || $library =~ $from_torch || -e $to/lib/$library ]] && continue
      path=$(awk -v name="$library" '$1 == name && /x86-64/ { print $NF; exit }' "$work/known")
      [ -n "$path" ] || die "$library, needed by $(basename "$file"), is not among this system's libraries"
      cp -L "$path" "$to/lib/$library"
      next+=("$to/lib/$library")
    done < <(needed "$file")
  done
  queue=("${next[@]}")
done
# Their licences, by the package that brought each (its path may be known with /usr in front or without).
for library in "$to"/lib/*; do realpath "$(awk -v name="$(basename "$library")" '$1 == name { print $NF; exit }' "$work/known")"; done |
  sed 's,.*/x86_64-linux-gnu/,*/x86_64-linux-gnu/,' | xargs dpkg-query -S 2>/dev/null | sed 's/:.*//' | sort -u > "$work/packages" || true
while read -r package; do
  [ ! -e "/usr/share/doc/$package/copyright" ] || cp -L "/usr/share/doc/$package/copyright" "$to/share/licenses/$package"
done < "$work/packages"

# DT_RPATH, not DT_RUNPATH: our own libraries come first, also where LD_LIBRARY_PATH (of conda, for example) names others.
for file in "${programs[@]}" "$to"/lib/*; do
  chmod u+w "$file"
  strip --strip-unneeded "$file"
  case $file in
    "$to"/lib/*) path='$ORIGIN' ;;
    "$to"/tests/bin/*) path='$ORIGIN/../../lib' ;;
    *) path='$ORIGIN/../lib' ;;
  esac
  patchelf --force-rpath --set-rpath "$path" "$file"
done

# ---------------------------------------------------------------- what must hold
for file in "${programs[@]}" "$to"/lib/*; do
  while read -r library; do
    [[ $library =~ $from_system || $library =~ $from_torch || -e $to/lib/$library ]] || die "$(basename "$file") needs $library, which is not in the package"
  done < <(needed "$file")
  symbols=$(objdump -T "$file")
  for limit in GLIBC=$newest_glibc GLIBCXX=$newest_glibcxx CXXABI=$newest_cxxabi GCC=$newest_gcc; do
    used=$(grep -oE "\b${limit%%=*}_[0-9][0-9.]*" <<<"$symbols" | sed 's/.*_//' | sort -uV | tail -1) || true  # some use none
    ! is_newer "${used:-0}" "${limit#*=}" || die "$(basename "$file") needs ${limit%%=*}_$used, newer than ${limit#*=}"
  done
done

mkdir -p "$(dirname "$output")"
# The same files give the same bytes.
tar -C "$work" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@${SOURCE_DATE_EPOCH:-0}" -cf - "$name" | gzip -n > "$output.tmp"
bytes=$(stat -c %s "$output.tmp")
[ "$bytes" -le $limit_bytes ] || die "the archive has $bytes bytes, more than $limit_bytes"
mv "$output.tmp" "$output"
say "$(awk -v b="$bytes" 'BEGIN { printf "%.1f MB", b / 1e6 }'), $(ls "$to/lib" | wc -l) libraries; runs with glibc $newest_glibc and GLIBCXX_$newest_glibcxx"
echo "$output"
