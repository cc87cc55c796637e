#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Checks with ldd who links what: check_links.sh BIN_DIR LIBTORCH_LIB_DIR. Exits 77 (skipped) when nothing is built.
set -uo pipefail
bin=$1 torch=${2:-}
failed=0 checked=0
fail() { echo "FAIL: $*"; failed=1; }
must_not_link() { # PROGRAM PATTERN WHY
  [ -e "$bin/$1" ] || return 0
  checked=$((checked + 1))
  local hits
  hits=$(ldd "$bin/$1" | grep -E "$2")
  [ -z "$hits" ] || fail "$1 links $3: $hits"
}
for program in trainerd trainerd-shim trainctl trainerd-inspect; do
  must_not_link $program 'libtorch|libc10|libcuda' LibTorch
done
must_not_link trainerd-shim 'libgrpc|libspdlog|libsqlite' "more than it needs"
must_not_link trainerd-worker 'libgrpc' gRPC
must_not_link trainerd-inspect 'libgrpc' gRPC
[ $checked -ge 4 ] || { echo "SKIP: the programs are not built in $bin"; exit 77; }

# Two protobufs in one process are safe only while the wheel hides its own.
if [ -n "$torch" ] && [ -e "$torch/libtorch_cpu.so" ]; then
  leaked=$(nm -DC "$torch/libtorch_cpu.so" | grep -c ' [TWVB] google::protobuf')
  [ "$leaked" = 0 ] || fail "libtorch_cpu.so exports $leaked google::protobuf symbols"
fi

# Every undefined symbol of the CUDA plugin must be defined by the wheel, the CUDA runtime or the C library.
plugin=$bin/libtrainerd_cuda.so
if [ -e "$plugin" ] && [ -n "$torch" ]; then
  defined=$(mktemp)
  trap 'rm -f "$defined"' EXIT
  for library in "$torch"/lib*.so "$torch"/../../nvidia/cu13/lib/libcudart.so.13; do
    nm -D --defined-only "$library" 2>/dev/null
  done | awk '{print $NF}' | sed 's/@.*//' | sort -u > "$defined"
  unknown=$(nm -D --undefined-only "$plugin" | awk '$1 == "U" {print $2}' | grep -vE '@(GLIBC|GLIBCXX|CXXABI|GCC)_' | sed 's/@.*//' | sort -u |
    comm -23 - "$defined" | grep -vE '^(_ZNS?[tKt]|_ZSt|_Unwind|__cxa|__gxx|_ZTV|_ZTI|_Zn|_Zd)' )
  [ -z "$unknown" ] || fail "undefined in the CUDA plugin and in the wheel: $unknown"
fi
[ $failed = 0 ] && echo "links are as they should be ($checked programs)"
exit $failed
