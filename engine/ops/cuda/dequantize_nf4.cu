// SPDX-License-Identifier: Apache-2.0
// A matrix in NF4 to fp32 or bf16: one thread per byte of codes, two elements. A block of 64
// elements is half a warp, so that the loads of its scale are one transaction.
#include "engine/ops/cuda/device_code.cuh"

namespace trainerd::engine::cuda {
namespace {

constexpr int kThreads = 128;
// Of ops/nf4.h.
constexpr int64_t kBlock = 64, kScaleBlock = 256;

template <typename T>
__global__ void __launch_bounds__(kThreads) DequantizeNf4(DequantizeNf4Arguments<T> a) {
  __shared__ float levels[16];
  if (threadIdx.x < 16) levels[threadIdx.x] = a.levels[threadIdx.x];
  __syncthreads();
  const int64_t pair = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x, first = 2 * pair;
  if (first >= a.elements) return;
  const int64_t block = first / kBlock;
  // Adding 0 keeps the compiler from rounding product and sum once.
  const float difference =
      fmaf(a.scale_levels[a.scales[block]], a.scale_scales[block / kScaleBlock], 0.0f);
  const float scale = difference + *a.scale_mean;
  const uint8_t codes = a.codes[pair];
  a.out[first] = FromFloat<T>(levels[codes >> 4] * scale);
  if (first + 1 < a.elements) a.out[first + 1] = FromFloat<T>(levels[codes & 15] * scale);
}

}  // namespace

template <typename T>
void LaunchDequantizeNf4(const DequantizeNf4Arguments<T>& a, void* stream) {
  const int64_t pairs = (a.elements + 1) / 2;
  if (pairs == 0) return;
  Launch<DequantizeNf4<T>>((pairs + kThreads - 1) / kThreads, kThreads, stream, a);
}

template void LaunchDequantizeNf4(const DequantizeNf4Arguments<float>&, void*);
template void LaunchDequantizeNf4(const DequantizeNf4Arguments<BFloat>&, void*);

}  // namespace trainerd::engine::cuda
