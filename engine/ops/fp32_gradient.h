// SPDX-License-Identifier: Apache-2.0
// Main gradients in bf16: kernels add to fp32.
#pragma once

#include <ATen/core/Tensor.h>

namespace trainerd::engine {

// The fp32 tensor that a kernel adds to: the main gradient itself, or while this lives a copy of a
// gradient in bf16, which the destructor rounds back. Undefined if the gradient is.
class Fp32Gradient {
 public:
  explicit Fp32Gradient(const at::Tensor& main)
      : main_(main), sum_(main.defined() ? main.to(at::kFloat) : main) {}
  ~Fp32Gradient() {
    if (!sum_.is_same(main_)) main_.copy_(sum_);
  }
  Fp32Gradient(const Fp32Gradient&) = delete;
  Fp32Gradient& operator=(const Fp32Gradient&) = delete;

  const at::Tensor& sum() const { return sum_; }

 private:
  const at::Tensor main_, sum_;
};

}  // namespace trainerd::engine
