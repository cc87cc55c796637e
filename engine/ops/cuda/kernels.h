// SPDX-License-Identifier: Apache-2.0
// Launchers of the CUDA kernels: pointers and sizes only, so that nvcc never reads ATen's headers.
// Each is defined in the .cu file of its op. `stream` is a cudaStream_t. A launcher queues the work
// and returns; an empty tensor launches nothing.
#pragma once

#include <cstdint>

namespace trainerd::engine::cuda {

// The bits of a bfloat16.
struct BFloat {
  uint16_t bits;
};

// As OpTable::rms_norm_forward, for rows of `columns` contiguous values. T is float or BFloat.
template <typename T>
struct RmsNormForwardArguments {
  const T* x;
  // Null: no addition; `sum` must point to x then and is only read.
  const T* delta;
  const T* weight;
  T* sum;
  T* normed;
  float* rstd;
  int64_t rows;
  int64_t columns;
  float eps;
};
template <typename T>
void LaunchRmsNormForward(const RmsNormForwardArguments<T>& arguments, void* stream);

// As OpTable::dequantize_nf4. T is float or BFloat.
template <typename T>
struct DequantizeNf4Arguments {
  const uint8_t* codes;
  const uint8_t* scales;
  const float* scale_scales;
  const float* scale_mean;
  T* out;
  int64_t elements;
  // What the codes of elements and of scales stand for: 1 KiB, sent with the launch.
  float levels[16];
  float scale_levels[256];
};
template <typename T>
void LaunchDequantizeNf4(const DequantizeNf4Arguments<T>& arguments, void* stream);

}  // namespace trainerd::engine::cuda
