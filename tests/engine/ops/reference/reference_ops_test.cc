// SPDX-License-Identifier: Apache-2.0
// The reference's backwards against finite differences of its forwards.
#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "engine/ops/op_table.h"
#include "tests/engine/ops/op_inputs.h"

namespace trainerd::engine {
namespace {

// ⟨gradient, direction⟩ against (f(x + h·direction) − f(x − h·direction)) / 2h.
void ExpectGradient(const std::function<at::Tensor(const at::Tensor&)>& f, const at::Tensor& x,
                    const at::Tensor& gradient, const char* what) {
  const at::Tensor direction = at::randn(x.sizes());
  constexpr double kStep = 1e-2;
  const auto value = [&](double step) {
    return f(x + direction * step).to(at::kDouble).sum().item<double>();
  };
  const double numeric = (value(kStep) - value(-kStep)) / (2 * kStep);
  const double analytic =
      (gradient.to(at::kDouble) * direction.to(at::kDouble)).sum().item<double>();
  EXPECT_NEAR(analytic, numeric, 2e-3 * std::max(1.0, std::abs(numeric))) << what;
}
TEST(ReferenceOpsTest, BackwardsAgreeWithFiniteDifferences) {
  at::manual_seed(3);
  const OpTable& ops = ReferenceOps();
  const at::Tensor x = at::randn({5, 12}), d = at::randn({5, 12}), weight = at::randn({12});
  const RmsNormResult normed = ops.rms_norm_forward(x, at::Tensor(), weight, 1e-5);
  const at::Tensor dw = at::zeros({12});
  const at::Tensor dx =
      ops.rms_norm_backward(at::Tensor(), d, normed.sum_TD, normed.rstd_T, weight, dw);
  ExpectGradient(
      [&](const at::Tensor& t) {
        return ops.rms_norm_forward(t, at::Tensor(), weight, 1e-5).normed_TD * d;
      },
      x, dx, "rms_norm x");
  ExpectGradient(
      [&](const at::Tensor& t) {
        return ops.rms_norm_forward(x, at::Tensor(), t, 1e-5).normed_TD * d;
      },
      weight, dw, "rms_norm weight");

  const at::Tensor d_half = at::randn({5, 6});
  ExpectGradient([&](const at::Tensor& t) { return ops.swiglu_forward(t) * d_half; }, x,
                 ops.swiglu_backward(d_half, x), "swiglu");

  const at::Tensor targets = at::randint(12, {5}, at::TensorOptions().dtype(at::kLong)),
                   gradient = x.clone();
  ops.cross_entropy(gradient, targets, at::Tensor(), {});
  ExpectGradient(
      [&](const at::Tensor& t) {
        return ops.cross_entropy(t.clone(), targets, at::Tensor(), {.with_gradient = false});
      },
      x, gradient, "cross_entropy");

  const at::Tensor heads = at::randn({5, 2, 6}), angle = at::randn({5, 3}),
                   head_weight = at::randn({6}), d_heads = at::randn({5, 2, 6});
  const at::Tensor d_x = d_heads.clone(), d_head_weight = at::zeros({6});
  ops.norm_rope_backward(d_x, heads, head_weight, d_head_weight, angle.cos(), angle.sin(), 1e-5);
  const auto norm_rope = [&](const at::Tensor& t, const at::Tensor& w) {
    at::Tensor out = at::zeros({5, 2, 6});
    ops.norm_rope_forward(out, t, w, angle.cos(), angle.sin(), 1e-5);
    return out * d_heads;
  };
  ExpectGradient([&](const at::Tensor& t) { return norm_rope(t, head_weight); }, heads, d_x,
                 "norm_rope x");
  ExpectGradient([&](const at::Tensor& t) { return norm_rope(heads, t); }, head_weight,
                 d_head_weight, "norm_rope weight");

  const AttentionShape shape{.num_heads = 2, .num_kv_heads = 1, .head_dim = 6, .scale = 0.4};
  const Documents documents = MakeDocuments({0, 2, 5});
  const at::Tensor k = at::randn({5, 1, 6}), v = at::randn({5, 1, 6}), dq = at::zeros({5, 2, 6}),
                   dk = at::zeros({5, 1, 6}), dv = at::zeros({5, 1, 6});
  ops.attention_backward(d_heads, heads, k, v, ops.attention_forward(heads, k, v, documents, shape),
                         documents, shape, dq, dk, dv);
  const auto attention = [&](const at::Tensor& q_, const at::Tensor& k_, const at::Tensor& v_) {
    return ops.attention_forward(q_, k_, v_, documents, shape).out_TNH * d_heads;
  };
  ExpectGradient([&](const at::Tensor& t) { return attention(t, k, v); }, heads, dq, "attention q");
  ExpectGradient([&](const at::Tensor& t) { return attention(heads, t, v); }, k, dk, "attention k");
  ExpectGradient([&](const at::Tensor& t) { return attention(heads, k, t); }, v, dv, "attention v");
}

}  // namespace
}  // namespace trainerd::engine
