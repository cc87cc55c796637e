// SPDX-License-Identifier: Apache-2.0
// Each fused table against the plain ATen reference, op by op, in fp32 and bf16 with sizes that are
// no multiples of a vector. Tables: the CPU's, and CUDA's with its kernels compiled for the host.
// Distances are shares of the expected tensor's norm.
#include "engine/ops/op_table.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <tuple>

#include "engine/ops/cuda/cuda_ops.h"
#include "engine/ops/nf4.h"
#include "tests/engine/ops/op_inputs.h"

namespace trainerd::engine {
namespace {

double Norm(const at::Tensor& x) {
  return std::sqrt(x.to(at::kDouble).square().sum().item<double>());
}

at::Tensor Random(at::IntArrayRef sizes, at::ScalarType dtype) {
  return at::randn(sizes).to(dtype);
}

// Distance as a share of the expected tensor's norm.
void ExpectNear(const at::Tensor& actual, const at::Tensor& expected, double tolerance,
                const char* what) {
  ASSERT_EQ(actual.sizes(), expected.sizes()) << what;
  EXPECT_EQ(actual.scalar_type(), expected.scalar_type()) << what;
  EXPECT_LE(Norm(actual.to(at::kDouble) - expected.to(at::kDouble)),
            tolerance * Norm(expected) + 1e-12)
      << what;
}

const OpTable& FusedTable(const std::string& name) {
  return name == "cpu" ? CpuOps() : *cuda::CudaOps(ReferenceOps());
}

class OpTableTest : public ::testing::TestWithParam<std::tuple<const char*, at::ScalarType>> {
 protected:
  void SetUp() override {
    at::set_num_threads(2);
    at::manual_seed(1);
  }
  at::ScalarType dtype() const { return std::get<1>(GetParam()); }
  // bf16 results differ by a rounding here and there.
  double tolerance() const { return dtype() == at::kFloat ? 2e-6 : 4e-3; }
  at::Tensor Rand(at::IntArrayRef sizes) const { return Random(sizes, dtype()); }

  const OpTable& reference_ = ReferenceOps();
  const OpTable& fused_ = FusedTable(std::get<0>(GetParam()));
};

// Ends a test where the table takes the op from the reference.
#define SKIP_UNLESS_FUSED(op) \
  if (fused_.op == reference_.op) GTEST_SKIP() << fused_.name << " has the reference's " #op

TEST_P(OpTableTest, RmsNorm) {
  for (int64_t columns : {5, 7, 64, 83, 576, 1027}) {
    const int64_t rows = 131;
    const at::Tensor x = Rand({rows, columns}), delta = Rand({rows, columns}),
                     weight = Rand({columns}), d_sum = Rand({rows, columns}),
                     d_normed = Rand({rows, columns});
    for (const at::Tensor& addend : {delta, at::Tensor()}) {
      const RmsNormResult expected = reference_.rms_norm_forward(x, addend, weight, 1e-5),
                          actual = fused_.rms_norm_forward(x, addend, weight, 1e-5);
      EXPECT_TRUE(at::equal(actual.sum_TD, expected.sum_TD));
      ExpectNear(actual.normed_TD, expected.normed_TD, tolerance(), "normed");
      ExpectNear(actual.rstd_T, expected.rstd_T, 2e-6, "rstd");
      EXPECT_TRUE(
          at::equal(fused_.rms_norm_apply(actual.sum_TD, actual.rstd_T, weight), actual.normed_TD));
      EXPECT_TRUE(at::equal(reference_.rms_norm_apply(expected.sum_TD, expected.rstd_T, weight),
                            expected.normed_TD));
      for (const at::Tensor& upstream : {d_sum, at::Tensor()}) {
        const at::Tensor dw_expected = at::full({columns}, 0.5), dw_actual = dw_expected.clone();
        const auto copy = [](const at::Tensor& t) { return t.defined() ? t.clone() : t; };
        const at::Tensor dx_expected = reference_.rms_norm_backward(
            copy(upstream), d_normed, expected.sum_TD, expected.rstd_T, weight, dw_expected);
        const at::Tensor dx_actual = fused_.rms_norm_backward(
            copy(upstream), d_normed, expected.sum_TD, expected.rstd_T, weight, dw_actual);
        ExpectNear(dx_actual, dx_expected, 2 * tolerance(), "dx");
        ExpectNear(dw_actual, dw_expected, 1e-5, "dw");
      }
    }
  }
}

TEST_P(OpTableTest, RopeWithAndWithoutNorm) {
  SKIP_UNLESS_FUSED(rope);
  for (int64_t head_dim : {2, 16, 22, 64, 128}) {
    const int64_t rows = 77, heads = 3;
    // Heads inside a wider row, as in the joint projection.
    const auto view = [&](const at::Tensor& wide) {
      return wide.narrow(1, head_dim, heads * head_dim).unflatten(1, {heads, head_dim});
    };
    const at::Tensor wide = Rand({rows, (heads + 2) * head_dim}),
                     angle = at::randn({rows, head_dim / 2}), weight = Rand({head_dim});
    const at::Tensor cos = angle.cos(), sin = angle.sin();
    for (bool inverse : {false, true}) {
      const at::Tensor expected = wide.clone(), actual = wide.clone();
      reference_.rope(view(expected), cos, sin, inverse);
      fused_.rope(view(actual), cos, sin, inverse);
      ExpectNear(actual, expected, tolerance(), "rope");
      EXPECT_TRUE(at::equal(actual.narrow(1, 0, head_dim), wide.narrow(1, 0, head_dim)));
    }
    const at::Tensor out_expected = wide.clone(), out_actual = wide.clone();
    reference_.norm_rope_forward(view(out_expected), view(wide), weight, cos, sin, 1e-6);
    fused_.norm_rope_forward(view(out_actual), view(wide), weight, cos, sin, 1e-6);
    ExpectNear(out_actual, out_expected, tolerance(), "norm_rope_forward");

    const at::Tensor d = Rand({rows, (heads + 2) * head_dim}), d_expected = d.clone(),
                     d_actual = d.clone();
    const at::Tensor dw_expected = at::zeros({head_dim}), dw_actual = at::zeros({head_dim});
    reference_.norm_rope_backward(view(d_expected), view(wide), weight, dw_expected, cos, sin,
                                  1e-6);
    fused_.norm_rope_backward(view(d_actual), view(wide), weight, dw_actual, cos, sin, 1e-6);
    ExpectNear(d_actual, d_expected, 2 * tolerance(), "norm_rope_backward");
    ExpectNear(dw_actual, dw_expected, 1e-5, "norm_rope weight gradient");
  }
}

TEST_P(OpTableTest, SwiGlu) {
  SKIP_UNLESS_FUSED(swiglu_forward);
  for (int64_t size : {1, 19, 48, 256}) {
    const at::Tensor gate_up = Rand({65, 2 * size}) * 3.0, d_out = Rand({65, size});
    ExpectNear(fused_.swiglu_forward(gate_up), reference_.swiglu_forward(gate_up), 2 * tolerance(),
               "forward");
    ExpectNear(fused_.swiglu_backward(d_out, gate_up.clone()),
               reference_.swiglu_backward(d_out, gate_up.clone()), 2 * tolerance(), "backward");
  }
}

// The random numbers are defined to the bit.
TEST_P(OpTableTest, Dropout) {
  SKIP_UNLESS_FUSED(dropout);
  for (int64_t columns : {1, 2, 7, 64, 131}) {
    const at::Tensor x = Rand({37, columns}),
                     keys = at::randint(int64_t{1} << 40, {37}, at::TensorOptions(at::kLong));
    for (const double probability : {0.1, 0.5, 0.999}) {
      for (const uint64_t key : {uint64_t{5}, ~uint64_t{5}}) {
        EXPECT_TRUE(at::equal(fused_.dropout(x, keys, key, probability),
                              reference_.dropout(x, keys, key, probability)));
      }
    }
  }
}

TEST_P(OpTableTest, CrossEntropy) {
  SKIP_UNLESS_FUSED(cross_entropy);
  for (int64_t vocabulary : {2, 97, 1024, 5003}) {
    const at::Tensor logits = Rand({37, vocabulary}) * 4.0,
                     targets = at::randint(vocabulary, {37}, at::TensorOptions().dtype(at::kLong)),
                     some_weights = at::rand({37}) * 5.0;
    for (const at::Tensor& weights : {at::Tensor(), some_weights}) {
      for (const double smoothing : {0.0, 0.1, 0.9}) {
        const at::Tensor expected = logits.clone(), actual = logits.clone(),
                         untouched = logits.clone();
        const CrossEntropyOptions options{.scale = 0.125, .label_smoothing = smoothing};
        const at::Tensor losses = reference_.cross_entropy(expected, targets, weights, options);
        ExpectNear(fused_.cross_entropy(actual, targets, weights, options), losses, 2e-6, "losses");
        ExpectNear(actual, expected, 2 * tolerance(), "gradient");
        ExpectNear(fused_.cross_entropy(untouched, targets, weights,
                                        {.label_smoothing = smoothing, .with_gradient = false}),
                   losses, 2e-6, "losses alone");
        EXPECT_TRUE(at::equal(untouched, logits));
      }
    }
  }
}

TEST_P(OpTableTest, Surprise) {
  SKIP_UNLESS_FUSED(surprise);
  for (int64_t vocabulary : {2, 97, 1024, 5003}) {
    const at::Tensor logits = Rand({37, vocabulary}) * 4.0;
    at::Tensor targets = at::randint(vocabulary, {37}, at::TensorOptions().dtype(at::kLong));
    targets[0] = 0, targets[1] = vocabulary - 1;
    const at::Tensor untouched = logits.clone();
    for (const SurpriseMeasure measure : kMeasures) {
      ExpectNear(fused_.surprise(logits, targets, measure),
                 reference_.surprise(logits, targets, measure), 1e-5, "surprise");
    }
    EXPECT_TRUE(at::equal(untouched, logits));
  }
}

TEST_P(OpTableTest, CrossEntropyOfHugeLogitsIsFinite) {
  SKIP_UNLESS_FUSED(cross_entropy);
  const at::Tensor logits = at::full({1, 50}, -1000.0, at::TensorOptions().dtype(dtype()));
  logits[0][3] = 3000.0;
  const at::Tensor targets = at::full({1}, 3, at::TensorOptions().dtype(at::kLong));
  EXPECT_EQ(fused_.cross_entropy(logits, targets, at::Tensor(), {}).item<float>(), 0.0f);
  EXPECT_EQ(Norm(logits), 0.0);
}

TEST_P(OpTableTest, NonFiniteValuesAreNotHidden) {
  SKIP_UNLESS_FUSED(cross_entropy);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const at::Tensor logits = Rand({2, 40}),
                   targets = at::zeros({2}, at::TensorOptions().dtype(at::kLong));
  logits[1][39] = nan;
  const at::Tensor losses = fused_.cross_entropy(logits, targets, at::Tensor(), {});
  EXPECT_TRUE(std::isfinite(losses[0].item<float>()));
  EXPECT_TRUE(std::isnan(losses[1].item<float>()));
  const at::Tensor x = Rand({2, 33});
  x[0][32] = nan;
  EXPECT_TRUE(
      std::isnan(Norm(fused_.rms_norm_forward(x, at::Tensor(), Rand({33}), 1e-6).normed_TD)));
  const at::Tensor gate_up = Rand({1, 34});
  gate_up[0][0] = nan;
  EXPECT_TRUE(std::isnan(Norm(fused_.swiglu_forward(gate_up))));
  EXPECT_TRUE(std::isnan(fused_.sum_of_squares(x.to(at::kFloat).flatten()).item<double>()));
}

TEST_P(OpTableTest, Attention) {
  SKIP_UNLESS_FUSED(attention_forward);
  const Documents documents = MakeDocuments({0, 1, 34, 34, 66, 191, 205});
  const int64_t tokens = 205;
  for (const AttentionShape& shape :
       {AttentionShape{.num_heads = 4, .num_kv_heads = 2, .head_dim = 16, .scale = 0.25},
        AttentionShape{.num_heads = 3, .num_kv_heads = 3, .head_dim = 22, .scale = 0.2},
        AttentionShape{.num_heads = 9, .num_kv_heads = 3, .head_dim = 64, .scale = 0.125},
        AttentionShape{
            .num_heads = 4, .num_kv_heads = 1, .head_dim = 128, .scale = 0.09, .window = 40},
        AttentionShape{
            .num_heads = 2, .num_kv_heads = 1, .head_dim = 32, .scale = 0.2, .window = 1}}) {
    const int64_t N = shape.num_heads, K = shape.num_kv_heads, H = shape.head_dim;
    const auto split = [&](const at::Tensor& qkv, int64_t first, int64_t count) {
      return qkv.narrow(1, first * H, count * H).unflatten(1, {count, H});
    };
    const at::Tensor qkv = Rand({tokens, (N + 2 * K) * H}), d_out = Rand({tokens, N, H});
    const at::Tensor q = split(qkv, 0, N), k = split(qkv, N, K), v = split(qkv, N + K, K);
    const AttentionResult expected = reference_.attention_forward(q, k, v, documents, shape),
                          actual = fused_.attention_forward(q, k, v, documents, shape);
    ExpectNear(actual.out_TNH, expected.out_TNH, tolerance(), "out");

    const at::Tensor d_expected = at::full(qkv.sizes(), 7.0, qkv.options()),
                     d_actual = d_expected.clone();
    reference_.attention_backward(d_out, q, k, v, expected, documents, shape,
                                  split(d_expected, 0, N), split(d_expected, N, K),
                                  split(d_expected, N + K, K));
    fused_.attention_backward(d_out, q, k, v, actual, documents, shape, split(d_actual, 0, N),
                              split(d_actual, N, K), split(d_actual, N + K, K));
    // bf16: the two saved outputs differ by a rounding, which the backward sees.
    ExpectNear(d_actual, d_expected, dtype() == at::kFloat ? 5e-6 : 1e-2, "gradient");
  }
}

TEST_P(OpTableTest, EmbeddingColumnSumsAndAccumulate) {
  SKIP_UNLESS_FUSED(accumulate);
  const at::Tensor d = Rand({150, 70}),
                   ids = at::randint(11, {150}, at::TensorOptions().dtype(at::kLong));
  const at::Tensor grad_expected = at::randn({11, 70}), grad_actual = grad_expected.clone();
  reference_.embedding_backward(d, ids, grad_expected);
  fused_.embedding_backward(d, ids, grad_actual);
  ExpectNear(grad_actual, grad_expected, 2e-6, "embedding");

  const at::Tensor sums_expected = at::randn({70}), sums_actual = sums_expected.clone();
  reference_.add_column_sums(sums_expected, d);
  fused_.add_column_sums(sums_actual, d);
  ExpectNear(sums_actual, sums_expected, 2e-6, "column sums");

  const at::Tensor out_expected = at::randn({150, 70}), out_actual = out_expected.clone();
  reference_.accumulate(out_expected, d);
  fused_.accumulate(out_actual, d);
  EXPECT_TRUE(at::equal(out_actual, out_expected));
}

TEST_P(OpTableTest, AdamW) {
  SKIP_UNLESS_FUSED(adamw);
  const int64_t count = 200003;
  const at::Tensor grad = at::randn({count}), master = at::randn({count}),
                   exp_avg = at::randn({count}) * 0.1,
                   exp_avg_sq = at::randn({count}).square() * 0.01;
  const AdamWUpdate update{.learning_rate = 1e-2,
                           .beta1 = 0.9,
                           .beta2 = 0.95,
                           .eps = 1e-8,
                           .weight_decay = 0.1,
                           .gradient_factor = 0.37,
                           .step = 3};
  std::vector<std::vector<at::Tensor>> results;
  for (const OpTable* table : {&reference_, &fused_}) {
    std::vector<at::Tensor> state = {master.clone(), exp_avg.clone(), exp_avg_sq.clone(),
                                     dtype() == at::kFloat
                                         ? at::Tensor()
                                         : at::zeros({count}, at::TensorOptions().dtype(dtype()))};
    table->adamw(state[0], grad, state[1], state[2], state[3], update);
    results.push_back(state);
  }
  for (size_t i = 0; i < 3; ++i) ExpectNear(results[1][i], results[0][i], 1e-6, "state");
  if (dtype() != at::kFloat) {
    EXPECT_TRUE(at::equal(results[1][3], results[1][0].to(dtype())));
  }
}

TEST_P(OpTableTest, DequantizeNf4) {
  SKIP_UNLESS_FUSED(dequantize_nf4);
  for (int64_t columns : {1, 7, 64, 576, 1027}) {
    const Nf4Matrix matrix = Nf4Matrix::Zeros(131, columns, at::kCPU);
    QuantizeNf4(at::randn({131, columns}), matrix);
    const at::Tensor expected = Rand({131, columns}), actual = Rand({131, columns});
    reference_.dequantize_nf4(matrix, expected);
    fused_.dequantize_nf4(matrix, actual);
    EXPECT_TRUE(at::equal(actual, expected)) << columns;
  }
}

TEST_P(OpTableTest, AdamW8bit) {
  SKIP_UNLESS_FUSED(adamw_8bit);
  // The last block is not whole, and one block has no gradient.
  const int64_t count = 200003, blocks = (count + kMomentBlock - 1) / kMomentBlock;
  const DynamicCode first = MakeDynamicCode(true, at::kCPU),
                    second = MakeDynamicCode(false, at::kCPU);
  const at::Tensor grad = at::randn({count}).pow_(3), master = at::randn({count});
  grad.narrow(0, 2 * kMomentBlock, kMomentBlock).zero_();
  std::vector<std::vector<at::Tensor>> results;
  for (const OpTable* table : {&reference_, &fused_}) {
    const auto codes = [&] { return at::zeros({count}, at::TensorOptions().dtype(at::kByte)); };
    const QuantizedMoment exp_avg{codes(), at::zeros({blocks}), &first},
        exp_avg_sq{codes(), at::zeros({blocks}), &second};
    std::vector<at::Tensor> state = {master.clone(), exp_avg.absmax, exp_avg_sq.absmax};
    const at::Tensor value = dtype() == at::kFloat
                                 ? at::Tensor()
                                 : at::zeros({count}, at::TensorOptions().dtype(dtype()));
    for (int64_t step = 1; step <= 3; ++step) {
      table->adamw_8bit(state[0], grad, exp_avg, exp_avg_sq, value,
                        {.learning_rate = 1e-2,
                         .beta1 = 0.9,
                         .beta2 = 0.95,
                         .eps = 1e-8,
                         .weight_decay = 0.1,
                         .gradient_factor = 0.37,
                         .step = step});
    }
    if (value.defined()) {
      EXPECT_TRUE(at::equal(value, state[0].to(dtype())));
    }
    state.push_back(exp_avg.codes.to(at::kInt));
    state.push_back(exp_avg_sq.codes.to(at::kInt));
    results.push_back(state);
  }
  for (size_t i = 0; i < 3; ++i) ExpectNear(results[1][i], results[0][i], 1e-5, "state");
  // A rounding of the last bit can move a value across the border of two cells.
  for (size_t i = 3; i < 5; ++i) {
    const at::Tensor distance = (results[1][i] - results[0][i]).abs();
    EXPECT_LE(distance.max().item<int>(), 1);
    EXPECT_LE(distance.sum().item<int64_t>(), count / 1000);
  }
}

TEST_P(OpTableTest, DoesNotDependOnTheThreadCount) {
  SKIP_UNLESS_FUSED(rms_norm_backward);
  const at::Tensor x = Rand({300, 65}), weight = Rand({65}), d = Rand({300, 65}),
                   flat = at::randn({1 << 18});
  std::vector<at::Tensor> results;
  for (int threads : {1, 2}) {
    at::set_num_threads(threads);
    const RmsNormResult normed = fused_.rms_norm_forward(x, at::Tensor(), weight, 1e-6);
    const at::Tensor dw = at::zeros({65}), sums = at::zeros({65});
    fused_.rms_norm_backward(at::Tensor(), d, normed.sum_TD, normed.rstd_T, weight, dw);
    fused_.add_column_sums(sums, d);
    results.insert(results.end(), {dw, sums, fused_.sum_of_squares(flat)});
  }
  for (size_t i = 0; i < 3; ++i) EXPECT_TRUE(at::equal(results[i], results[i + 3])) << i;
}

INSTANTIATE_TEST_SUITE_P(Tables, OpTableTest,
                         ::testing::Combine(::testing::Values("cpu", "cuda_on_host"),
                                            ::testing::Values(at::kFloat, at::kBFloat16)),
                         [](const auto& info) {
                           return std::string(std::get<0>(info.param)) +
                                  (std::get<1>(info.param) == at::kFloat ? "_fp32" : "_bf16");
                         });
TEST(OpsForTest, ReturnsTheRegisteredTable) {
  EXPECT_EQ(&OpsFor(at::kCPU), &CpuOps());
  EXPECT_EQ(&OpsFor(at::kXPU), &ReferenceOps());
  // Only the CUDA plugin brings a table.
  RegisterDeviceOps(at::kCPU);
  EXPECT_EQ(&OpsFor(at::kCPU), &CpuOps());
  RegisterOps(at::kCPU, ReferenceOps());
  EXPECT_EQ(&OpsFor(at::kCPU), &ReferenceOps());
  RegisterOps(at::kCPU, CpuOps());
}

}  // namespace
}  // namespace trainerd::engine
