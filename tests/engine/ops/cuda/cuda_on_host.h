// SPDX-License-Identifier: Apache-2.0
// Runs CUDA kernels on the CPU. g++ compiles the .cu files of engine/ops/cuda with this header in
// front of them. Each thread of a block is a fiber; __syncthreads and shuffles wait until every
// fiber of the block or warp has arrived. The order of the fibers between two such points can be
// chosen: a result that depends on it is a race. A thread that misses a barrier ends the process
// with a message.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>

#include "tests/engine/ops/cuda/kernel_registry.h"

#define __global__
#define __device__
#define __launch_bounds__(threads)
// One block runs at a time.
#define __shared__ static

namespace trainerd::cuda_on_host {

struct Index {
  unsigned x = 0;
};
Index ThreadIndex();
Index BlockIndex();

void SyncThreads();
// The value that the thread `lane_mask` away in this warp brings.
float ShuffleXor(float value, int lane_mask);

enum class ThreadOrder { kForward, kBackward, kShuffled };
// Applies to later launches.
void SetThreadOrder(ThreadOrder order);

// Runs `body` for every thread of every block. `threads` is a multiple of 32.
void Run(int64_t blocks, int threads, const std::function<void()>& body);

}  // namespace trainerd::cuda_on_host

#define threadIdx (::trainerd::cuda_on_host::ThreadIndex())
#define blockIdx (::trainerd::cuda_on_host::BlockIndex())

inline void __syncthreads() { ::trainerd::cuda_on_host::SyncThreads(); }
inline float __shfl_xor_sync(unsigned, float value, int lane_mask) {
  return ::trainerd::cuda_on_host::ShuffleXor(value, lane_mask);
}
inline float __uint_as_float(uint32_t bits) {
  float result;
  std::memcpy(&result, &bits, sizeof(result));
  return result;
}

namespace trainerd::engine::cuda {

inline uint16_t RoundToBFloat(float x) {
  if (std::isnan(x)) return 0x7fff;  // what the GPU's conversion gives
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  return static_cast<uint16_t>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16);
}

template <auto kKernel, typename Argument>
void RunKernel(int64_t blocks, int threads, void** arguments) {
  const auto& argument = *static_cast<const Argument*>(arguments[0]);
  ::trainerd::cuda_on_host::Run(blocks, threads, [&] { kKernel(argument); });
}
template <auto kKernel, typename Argument>
inline const bool kIsRegistered = ::trainerd::cuda_on_host::RegisterKernel(
    typeid(::trainerd::cuda_on_host::KernelName<kKernel>), &RunKernel<kKernel, Argument>);

template <auto kKernel, typename Argument>
void Launch(int64_t blocks, int threads, void*, const Argument& argument) {
  static_cast<void>(kIsRegistered<kKernel, Argument>);
  ::trainerd::cuda_on_host::Run(blocks, threads, [&] { kKernel(argument); });
}

}  // namespace trainerd::engine::cuda
