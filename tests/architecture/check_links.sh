#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Checks which program links which library: check_links.sh BIN_DIR LIBTORCH_LIB_DIR. Exits 77
# (skipped) if nothing is built.
set -uo pipefail
bin=$1 torch=${2:-}
failed=0 checked=0
fail() { echo "FAIL: $*"; failed=1; }
must_not_link() { # PROGRAM PATTERN WHAT
  [ -e "$bin/$1" ] || return 0
  checked=$((checked + 1))
  local hits
  hits=$(ldd "$bin/$1" | grep -E "$2")
  [ -z "$hits" ] || fail "$1 links $3: $hits"
}
for program in trainerd trainerd-shim trainctl trainerd-inspect trainerd-notify; do
  must_not_link $program 'libtorch|libc10|libcuda' LibTorch
done
for program in trainerd trainerd-shim trainctl trainerd-inspect trainerd-worker; do
  must_not_link $program 'libcurl' libcurl
done
must_not_link trainerd-notify 'libgrpc|libspdlog|libsqlite' "more than it needs"
must_not_link trainerd-shim 'libgrpc|libspdlog|libsqlite' "more than it needs"
must_not_link trainerd-worker 'libgrpc' gRPC
must_not_link trainerd-inspect 'libgrpc' gRPC
[ $checked -ge 4 ] || { echo "SKIP: the programs are not built in $bin"; exit 77; }

# Two protobufs in one process are safe only while the wheel hides its own.
if [ -n "$torch" ] && [ -e "$torch/libtorch_cpu.so" ]; then
  leaked=$(nm -DC "$torch/libtorch_cpu.so" | grep -c ' [TWVB] google::protobuf')
  [ "$leaked" = 0 ] || fail "libtorch_cpu.so exports $leaked google::protobuf symbols"
fi

# The CUDA plugin may leave a symbol undefined only if one of these defines it:
# - LibTorch (torch/lib/lib*.so);
# - the CUDA runtime (libcudart.so.13): cuda*, and the __cuda* functions with which nvcc's objects
#   register and launch kernels;
# - the C and C++ libraries (symbols with a version).
# The driver (libcuda) and the worker are not in the list: the plugin gets the worker's op table as
# an argument.
plugin=$bin/libtrainerd_cuda.so
if [ -e "$plugin" ] && [ -n "$torch" ]; then
  runtime=$torch/../../nvidia/cu13/lib/libcudart.so.13
  [ -e "$runtime" ] || runtime=/usr/local/cuda/lib64/libcudart.so.13
  [ -e "$runtime" ] || fail "libcudart.so.13 was not found; run deploy/install_dependencies.sh"
  undefined=$(nm -D --undefined-only "$plugin" | awk '$1 == "U" {print $2}' |
    grep -vE '@(GLIBC|GLIBCXX|CXXABI|GCC)_' | sed 's/@.*//' | sort -u)
  defined=$(nm -D --defined-only "$torch"/lib*.so "$runtime" 2>/dev/null |
    awk 'NF == 3 {print $3}' | sed 's/@.*//' | sort -u)
  unknown=$(comm -23 <(echo "$undefined") <(echo "$defined"))
  [ -z "$unknown" ] ||
    fail "undefined in the CUDA plugin; neither LibTorch nor the CUDA runtime defines it: $unknown"
  # A plugin without our kernels, or one that exports more than its table, was built wrongly.
  grep -qx __cudaRegisterFunction <<<"$undefined" || fail "the CUDA plugin registers no kernel"
  exported=$(nm -D --defined-only "$plugin" | awk '$2 == "T" && $3 !~ /^_(init|fini)$/ {print $3}')
  [ "$exported" = trainerd_cuda_plugin ] ||
    fail "the CUDA plugin must export trainerd_cuda_plugin only, but exports $exported"
fi
[ $failed = 0 ] && echo "links are correct ($checked programs)"
exit $failed
