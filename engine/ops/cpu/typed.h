// SPDX-License-Identifier: Apache-2.0
// From tensors to the kernels' pointers.
#pragma once

#include <ATen/core/Tensor.h>

#include "engine/ops/cpu/kernels.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine::cpu {

// Calls f(kernels, T{}) with the kernels and element type of `dtype`, fp32 or bf16.
template <typename F>
auto WithType(at::ScalarType dtype, const F& f) {
  static const Kernels& kernels = BestKernels();
  if (dtype == at::kFloat) return f(kernels.f32, float{});
  TRAINERD_CHECK(dtype == at::kBFloat16);
  return f(kernels.bf16, BFloat{});
}

template <typename T>
T* Data(const at::Tensor& tensor) {
  return tensor.defined() ? static_cast<T*>(tensor.data_ptr()) : nullptr;
}

template <typename T>
HeadRows<T> Rows(const at::Tensor& heads_THd) {
  return {static_cast<T*>(heads_THd.data_ptr()), heads_THd.stride(0)};
}

// The layout that the head kernels take: contiguous but for the row stride.
inline bool IsHeadRows(const at::Tensor& x) {
  return x.dim() == 3 && x.stride(2) == 1 && x.stride(1) == x.size(2);
}

}  // namespace trainerd::engine::cpu
