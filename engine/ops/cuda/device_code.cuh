// SPDX-License-Identifier: Apache-2.0
// What every kernel shares: conversions, 16-byte loads and stores, sums over a block, the launch.
// nvcc compiles the .cu files for the device. Tests compile the same files with g++ for the host;
// there, tests/engine/ops/cuda/cuda_on_host.h replaces CUDA's keywords and builtins and is included
// first. Write arithmetic so that both give the same bits: fused multiply-adds explicitly (fmaf),
// no fast-math functions, sums in a fixed order, no atomics.
#pragma once

#include <cstdint>

#include "engine/ops/cuda/kernels.h"

#ifdef __CUDACC__
#include <cuda_bf16.h>

namespace trainerd::engine::cuda {

__device__ inline uint16_t RoundToBFloat(float x) {
  return __bfloat16_as_ushort(__float2bfloat16_rn(x));
}

// kKernel<<<blocks, threads, 0, stream>>>(argument). The kernel is a template argument so that the
// host's Launch can list all kernels.
template <auto kKernel, typename Argument>
void Launch(int64_t blocks, int threads, void* stream, const Argument& argument) {
  kKernel<<<static_cast<unsigned>(blocks), threads, 0, static_cast<cudaStream_t>(stream)>>>(
      argument);
}

}  // namespace trainerd::engine::cuda
#endif

namespace trainerd::engine::cuda {

__device__ inline float ToFloat(float x) { return x; }
__device__ inline float ToFloat(BFloat x) {
  return __uint_as_float(static_cast<uint32_t>(x.bits) << 16);
}

// Rounds to nearest even.
template <typename T>
__device__ T FromFloat(float x);
template <>
__device__ inline float FromFloat<float>(float x) {
  return x;
}
template <>
__device__ inline BFloat FromFloat<BFloat>(float x) {
  return {RoundToBFloat(x)};
}

// The values that one instruction loads or stores.
template <typename T>
struct alignas(16) Pack {
  static constexpr int kSize = 16 / sizeof(T);
  T values[kSize];
};

// The pack at `from`, of which `count` values exist; the others become 0. Only where kWhole is set
// (`from` is aligned to 16 bytes, the pack exists whole) this is one instruction.
template <bool kWhole, typename T>
__device__ inline Pack<T> LoadPack(const T* from, int64_t count) {
  if constexpr (kWhole) {
    return *reinterpret_cast<const Pack<T>*>(from);
  } else {
    Pack<T> pack{};
    for (int i = 0; i < Pack<T>::kSize; ++i) {
      if (i < count) pack.values[i] = from[i];
    }
    return pack;
  }
}

template <bool kWhole, typename T>
__device__ inline void StorePack(const Pack<T>& pack, T* to, int64_t count) {
  if constexpr (kWhole) {
    *reinterpret_cast<Pack<T>*>(to) = pack;
  } else {
    for (int i = 0; i < Pack<T>::kSize; ++i) {
      if (i < count) to[i] = pack.values[i];
    }
  }
}

// Whether rows of `columns` values at these addresses consist of whole, aligned packs.
template <typename T, typename... Pointers>
bool HasWholePacks(int64_t columns, Pointers... pointers) {
  const uintptr_t addresses = (reinterpret_cast<uintptr_t>(pointers) | ...);
  return columns % Pack<T>::kSize == 0 && addresses % alignof(Pack<T>) == 0;
}

// The sum of `x` over the block's kThreads threads, for each of them. `partial` is shared memory
// that nothing else uses. Order: lanes of a warp as a tree, then the warps one after the other.
template <int kThreads>
__device__ inline float BlockSum(float x, float (&partial)[kThreads / 32]) {
  for (int distance = 16; distance > 0; distance /= 2) {
    x += __shfl_xor_sync(0xffffffffU, x, distance);
  }
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = x;
  __syncthreads();
  float sum = 0.0f;
  for (int warp = 0; warp < kThreads / 32; ++warp) sum += partial[warp];
  return sum;
}

}  // namespace trainerd::engine::cuda
