#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# cpu_libraries.sh FROM TO: copies the part of LibTorch that a worker without CUDA loads, with the
# layout of the wheel, because the libraries find each other by it. FROM: a site-packages folder.
set -e
from=$1 to=$2
mkdir -p "$to/torch/lib" "$to/nvidia/cu13/lib"
cp "$from/torch/version.py" "$to/torch/"
cp "$from"/torch/lib/libtorch_cpu.so "$from"/torch/lib/libc10.so "$from"/torch/lib/libgomp* "$to/torch/lib/"
cp "$from"/nvidia/cu13/lib/libcudart.so.13 "$from"/nvidia/cu13/lib/libcupti.so.13 "$to/nvidia/cu13/lib/"
