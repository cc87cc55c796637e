// SPDX-License-Identifier: Apache-2.0
// Tensors in, pointers to the launchers of kernels.h.
#include "engine/ops/cuda/cuda_ops.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <c10/core/DeviceGuard.h>

#include <algorithm>
#include <iterator>

#include "engine/ops/cuda/kernels.h"
#include "engine/ops/nf4.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine::cuda {
namespace {

// The elements of a contiguous tensor; null for an undefined one.
template <typename T>
T* Data(const at::Tensor& x) {
  return x.defined() ? static_cast<T*>(x.data_ptr()) : nullptr;
}

// Calls `launch` with a value of the element type: float or BFloat.
template <typename Launch>
void WithType(at::ScalarType type, const Launch& launch) {
  TRAINERD_CHECK(type == at::kFloat || type == at::kBFloat16);
  if (type == at::kFloat) {
    launch(float{});
  } else {
    launch(BFloat{});
  }
  CheckLaunch();
}

// Whether `y` is undefined or may be read as rows of x's type on x's device.
bool Fits(const at::Tensor& x, const at::Tensor& y) {
  return !y.defined() ||
         (y.is_contiguous() && y.scalar_type() == x.scalar_type() && y.device() == x.device());
}

RmsNormResult RmsNormForward(const at::Tensor& x, const at::Tensor& delta, const at::Tensor& weight,
                             double eps) {
  TRAINERD_CHECK(x.is_contiguous() && Fits(x, delta) && Fits(x, weight));
  const c10::DeviceGuard guard(x.device());
  const int64_t rows = x.size(0), columns = x.size(1);
  RmsNormResult result;
  result.sum_TD = delta.defined() ? at::empty_like(x) : x.detach();
  result.normed_TD = at::empty_like(x);
  result.rstd_T = at::empty({rows}, x.options().dtype(at::kFloat));
  WithType(x.scalar_type(), [&](auto zero) {
    using T = decltype(zero);
    LaunchRmsNormForward<T>({.x = Data<T>(x),
                             .delta = Data<T>(delta),
                             .weight = Data<T>(weight),
                             .sum = Data<T>(result.sum_TD),
                             .normed = Data<T>(result.normed_TD),
                             .rstd = Data<float>(result.rstd_T),
                             .rows = rows,
                             .columns = columns,
                             .eps = static_cast<float>(eps)},
                            CurrentStream(x.device()));
  });
  return result;
}

void DequantizeNf4(const Nf4Matrix& matrix, const at::Tensor& out) {
  TRAINERD_CHECK(out.is_contiguous() && out.device() == matrix.codes.device());
  const c10::DeviceGuard guard(out.device());
  WithType(out.scalar_type(), [&](auto zero) {
    using T = decltype(zero);
    DequantizeNf4Arguments<T> arguments{.codes = Data<uint8_t>(matrix.codes),
                                        .scales = Data<uint8_t>(matrix.scales),
                                        .scale_scales = Data<float>(matrix.scale_scales),
                                        .scale_mean = Data<float>(matrix.scale_mean),
                                        .out = Data<T>(out),
                                        .elements = matrix.elements()};
    std::copy(kNf4Levels.begin(), kNf4Levels.end(), arguments.levels);
    std::copy_n(matrix.scale_levels.const_data_ptr<float>(), std::size(arguments.scale_levels),
                arguments.scale_levels);
    LaunchDequantizeNf4(arguments, CurrentStream(out.device()));
  });
}

}  // namespace

const OpTable* CudaOps(const OpTable& reference) {
  static const OpTable table = [&] {
    OpTable ops = reference;
    ops.name = "cuda";
    ops.rms_norm_forward = RmsNormForward;
    ops.dequantize_nf4 = DequantizeNf4;
    return ops;
  }();
  return &table;
}

}  // namespace trainerd::engine::cuda
