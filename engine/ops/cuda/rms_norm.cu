// SPDX-License-Identifier: Apache-2.0
// Residual addition and RMSNorm, forward: one block per row. Reads x, delta and weight once from
// memory and writes sum, normed and rstd once; the second pass over the row finds it in the cache.
// Rounds where the reference rounds. A thread sums the same columns whatever the alignment, so that
// the bits depend on the values and the row's length alone.
#include "engine/ops/cuda/device_code.cuh"

namespace trainerd::engine::cuda {
namespace {

// 128 packs of bf16 are 1,024 columns: shorter rows leave threads idle, longer ones take turns.
constexpr int kThreads = 128;

template <typename T, bool kWhole>
__global__ void __launch_bounds__(kThreads) RmsNormForward(RmsNormForwardArguments<T> a) {
  constexpr int kSize = Pack<T>::kSize;
  __shared__ float partial[kThreads / 32];
  const int64_t row = static_cast<int64_t>(blockIdx.x) * a.columns;
  float squares = 0.0f;
  for (int64_t c = threadIdx.x * kSize; c < a.columns; c += kThreads * kSize) {
    Pack<T> sum = LoadPack<kWhole>(a.x + row + c, a.columns - c);
    if (a.delta != nullptr) {
      const Pack<T> delta = LoadPack<kWhole>(a.delta + row + c, a.columns - c);
      for (int i = 0; i < kSize; ++i) {
        sum.values[i] = FromFloat<T>(ToFloat(sum.values[i]) + ToFloat(delta.values[i]));
      }
      StorePack<kWhole>(sum, a.sum + row + c, a.columns - c);
    }
    for (int i = 0; i < kSize; ++i) {
      const float value = ToFloat(sum.values[i]);
      squares = fmaf(value, value, squares);
    }
  }
  const float mean = BlockSum<kThreads>(squares, partial) / static_cast<float>(a.columns);
  const float rstd = 1.0f / sqrtf(mean + a.eps);
  if (threadIdx.x == 0) a.rstd[blockIdx.x] = rstd;
  for (int64_t c = threadIdx.x * kSize; c < a.columns; c += kThreads * kSize) {
    const Pack<T> sum = LoadPack<kWhole>(a.sum + row + c, a.columns - c),
                  weight = LoadPack<kWhole>(a.weight + c, a.columns - c);
    Pack<T> normed;
    for (int i = 0; i < kSize; ++i) {
      const T rounded = FromFloat<T>(ToFloat(sum.values[i]) * rstd);
      normed.values[i] = FromFloat<T>(ToFloat(weight.values[i]) * ToFloat(rounded));
    }
    StorePack<kWhole>(normed, a.normed + row + c, a.columns - c);
  }
}

}  // namespace

template <typename T>
void LaunchRmsNormForward(const RmsNormForwardArguments<T>& a, void* stream) {
  if (a.rows == 0) return;
  if (HasWholePacks<T>(a.columns, a.x, a.delta, a.weight, a.sum, a.normed)) {
    Launch<RmsNormForward<T, true>>(a.rows, kThreads, stream, a);
  } else {
    Launch<RmsNormForward<T, false>>(a.rows, kThreads, stream, a);
  }
}

template void LaunchRmsNormForward(const RmsNormForwardArguments<float>&, void*);
template void LaunchRmsNormForward(const RmsNormForwardArguments<BFloat>&, void*);

}  // namespace trainerd::engine::cuda
