// SPDX-License-Identifier: Apache-2.0
// Products in every layout that the layers use, against fp64.
#include "engine/ops/gemm.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>

namespace trainerd::engine {
namespace {

double Distance(const at::Tensor& actual, const at::Tensor& expected) {
  return std::sqrt((actual.to(at::kDouble) - expected).square().sum().item<double>() /
                   std::max(1e-30, expected.square().sum().item<double>()));
}

class GemmTest : public ::testing::TestWithParam<at::ScalarType> {};

TEST_P(GemmTest, EveryLayoutAndSize) {
  const double tolerance = GetParam() == at::kFloat ? 1e-6 : 6e-3;
  for (auto [rows, columns, depth] : {std::tuple<int64_t, int64_t, int64_t>{1, 5, 3},
                                      {3, 64, 64},
                                      {33, 17, 65},
                                      {64, 128, 1},
                                      {200, 96, 48},
                                      // Large enough for oneDNN.
                                      {512, 192, 96},
                                      {700, 16, 800},
                                      {16, 700, 800}}) {
    for (bool transpose_a : {false, true}) {
      for (bool transpose_b : {false, true}) {
        const auto make = [&](int64_t m, int64_t n, bool transpose) {
          return transpose ? at::randn({n, m}).to(GetParam()).t()
                           : at::randn({m, n}).to(GetParam());
        };
        const at::Tensor a = make(rows, depth, transpose_a), b = make(depth, columns, transpose_b);
        const at::Tensor expected = at::mm(a.to(at::kDouble), b.to(at::kDouble));
        EXPECT_LE(Distance(MatMul(a, b), expected), tolerance)
            << rows << " " << columns << " " << depth << transpose_a << transpose_b;
        const at::Tensor out = at::randn({rows, columns}).to(GetParam());
        MatMulOut(out, a, b);
        EXPECT_LE(Distance(out, expected), tolerance);
        const at::Tensor sum = at::randn({rows, columns}), before = sum.to(at::kDouble);
        AddMatMul(sum, a, b);
        EXPECT_LE(Distance(sum, before + expected), tolerance);
        // Into all columns of a matrix, and into some of them.
        for (const int64_t margin : {0, 2}) {
          const at::Tensor wide = at::randn({rows, columns + 2 * margin}).to(GetParam()),
                           old = wide.to(at::kDouble), target = wide.narrow(1, margin, columns);
          AddProduct(target, a, b);
          EXPECT_LE(Distance(target, old.narrow(1, margin, columns) + expected), tolerance);
          EXPECT_EQ(Distance(wide.narrow(1, 0, margin), old.narrow(1, 0, margin)), 0.0);
        }
      }
    }
  }
}

TEST_P(GemmTest, NoRowsChangeNothing) {
  const auto options = at::TensorOptions().dtype(GetParam());
  EXPECT_EQ(MatMul(at::zeros({0, 4}, options), at::zeros({4, 3}, options)).size(0), 0);
  const at::Tensor sum = at::randn({4, 3}), before = sum.clone();
  AddMatMul(sum, at::zeros({4, 0}, options), at::zeros({0, 3}, options));
  EXPECT_EQ(Distance(sum, before.to(at::kDouble)), 0.0);
}

INSTANTIATE_TEST_SUITE_P(Types, GemmTest, ::testing::Values(at::kFloat, at::kBFloat16),
                         [](const auto& info) {
                           return std::string(info.param == at::kFloat ? "fp32" : "bf16");
                         });

}  // namespace
}  // namespace trainerd::engine
