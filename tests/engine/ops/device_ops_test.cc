// SPDX-License-Identifier: Apache-2.0
// The table that a device computes with (OpsFor) against the plain ATen reference on the CPU, op by
// op, in fp32 and bf16: what holds on a GPU (TRAINERD_TEST_DEVICE=cuda:0) that the reference alone
// cannot show: flash attention, fp32 accumulation of bf16 products, copies to the device.
#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "engine/data/batches/batch.h"
#include "engine/model/decoder.h"
#include "engine/ops/cross_entropy.h"
#include "engine/ops/gemm.h"
#include "engine/ops/nf4.h"
#include "engine/ops/op_table.h"
#include "tests/engine/ops/op_inputs.h"
#include "tests/engine/test_device.h"

namespace trainerd::engine {
namespace {

using testing::TestDevice;

double Norm(const at::Tensor& x) {
  return std::sqrt(x.to(at::kDouble).square().sum().item<double>());
}

at::Tensor OnDevice(const at::Tensor& x) { return x.defined() ? x.to(TestDevice()) : x; }

class DeviceOpsTest : public ::testing::TestWithParam<at::ScalarType> {
 protected:
  void SetUp() override { at::manual_seed(5); }
  at::ScalarType dtype() const { return GetParam(); }
  at::Tensor Rand(at::IntArrayRef sizes) const { return at::randn(sizes).to(dtype()); }

  // `actual` from the device; the distance is a share of the expected tensor's norm.
  void ExpectNear(const at::Tensor& actual, const at::Tensor& expected, const char* what) const {
    ASSERT_EQ(actual.sizes(), expected.sizes()) << what;
    EXPECT_EQ(actual.device().type(), TestDevice().type()) << what;
    const double tolerance = dtype() == at::kFloat ? 1e-5 : 1e-2;
    EXPECT_LE(Norm(actual.cpu().to(at::kDouble) - expected.to(at::kDouble)),
              tolerance * Norm(expected) + 1e-12)
        << what;
  }

  const OpTable& reference_ = ReferenceOps();
};

TEST(DeviceTableTest, ComesFromThePluginOnCuda) {
  if (!testing::TestDeviceIsCuda()) GTEST_SKIP() << "the CPU has no plugin";
  const OpTable& ops = OpsFor(TestDevice());
  EXPECT_STREQ(ops.name, "cuda");
  EXPECT_NE(ops.rms_norm_forward, ReferenceOps().rms_norm_forward);
  // Attention stays LibTorch's.
  EXPECT_EQ(ops.attention_forward, ReferenceOps().attention_forward);
}

TEST_P(DeviceOpsTest, AddAndRmsNormInManyShapes) {
  const OpTable& ops = OpsFor(TestDevice());
  for (const auto& [rows, columns] : std::vector<std::pair<int64_t, int64_t>>{
           {0, 8}, {1, 1}, {3, 7}, {131, 96}, {5, 1027}, {4, 2560}, {70'000, 16}}) {
    const at::Tensor x = Rand({rows, columns}), delta = Rand({rows, columns}),
                     weight = Rand({columns});
    for (const at::Tensor& addend : {delta, at::Tensor()}) {
      const RmsNormResult expected = reference_.rms_norm_forward(x, addend, weight, 1e-6);
      const auto on_device = [&] {
        return ops.rms_norm_forward(OnDevice(x), OnDevice(addend), OnDevice(weight), 1e-6);
      };
      const RmsNormResult actual = on_device(), again = on_device();
      EXPECT_TRUE(at::equal(actual.sum_TD.cpu(), expected.sum_TD)) << columns;
      ExpectNear(actual.normed_TD, expected.normed_TD, "normed");
      ExpectNear(actual.rstd_T, expected.rstd_T, "rstd");
      EXPECT_TRUE(at::equal(actual.normed_TD, again.normed_TD)) << columns;
    }
  }
}

TEST_P(DeviceOpsTest, Norms) {
  const OpTable& ops = OpsFor(TestDevice());
  const at::Tensor x = Rand({131, 96}), delta = Rand({131, 96}), weight = Rand({96}),
                   d_sum = Rand({131, 96}), d_normed = Rand({131, 96});
  const RmsNormResult expected = reference_.rms_norm_forward(x, delta, weight, 1e-5);
  const RmsNormResult actual =
      ops.rms_norm_forward(OnDevice(x), OnDevice(delta), OnDevice(weight), 1e-5);
  ExpectNear(actual.sum_TD, expected.sum_TD, "sum");
  ExpectNear(actual.normed_TD, expected.normed_TD, "normed");
  EXPECT_TRUE(at::equal(ops.rms_norm_apply(actual.sum_TD, actual.rstd_T, OnDevice(weight)),
                        actual.normed_TD));
  const at::Tensor dw_expected = at::full({96}, 0.5), dw_actual = OnDevice(dw_expected.clone());
  const at::Tensor dx_expected = reference_.rms_norm_backward(
      d_sum.clone(), d_normed, expected.sum_TD, expected.rstd_T, weight, dw_expected);
  const at::Tensor dx_actual =
      ops.rms_norm_backward(OnDevice(d_sum.clone()), OnDevice(d_normed), actual.sum_TD,
                            actual.rstd_T, OnDevice(weight), dw_actual);
  ExpectNear(dx_actual, dx_expected, "dx");
  ExpectNear(dw_actual, dw_expected, "dw");
}

TEST_P(DeviceOpsTest, RotaryHeadsInsideAWiderRow) {
  const OpTable& ops = OpsFor(TestDevice());
  constexpr int64_t kRows = 77, kHeads = 3, kHeadDim = 64;
  const auto view = [&](const at::Tensor& wide) {
    return wide.narrow(1, kHeadDim, kHeads * kHeadDim).unflatten(1, {kHeads, kHeadDim});
  };
  const at::Tensor wide = Rand({kRows, (kHeads + 2) * kHeadDim}),
                   angle = at::randn({kRows, kHeadDim / 2}), weight = Rand({kHeadDim});
  const at::Tensor cos = angle.cos(), sin = angle.sin();
  const at::Tensor rotated_expected = wide.clone(), rotated_actual = OnDevice(wide.clone());
  reference_.rope(view(rotated_expected), cos, sin, /*inverse=*/true);
  ops.rope(view(rotated_actual), OnDevice(cos), OnDevice(sin), /*inverse=*/true);
  ExpectNear(rotated_actual, rotated_expected, "rope");

  const at::Tensor out_expected = wide.clone(), out_actual = OnDevice(wide.clone());
  reference_.norm_rope_forward(view(out_expected), view(wide), weight, cos, sin, 1e-6);
  ops.norm_rope_forward(view(out_actual), view(OnDevice(wide)), OnDevice(weight), OnDevice(cos),
                        OnDevice(sin), 1e-6);
  ExpectNear(out_actual, out_expected, "norm_rope_forward");

  const at::Tensor d = Rand({kRows, (kHeads + 2) * kHeadDim}), d_expected = d.clone(),
                   d_actual = OnDevice(d.clone());
  const at::Tensor dw_expected = at::zeros({kHeadDim}), dw_actual = OnDevice(dw_expected.clone());
  reference_.norm_rope_backward(view(d_expected), view(wide), weight, dw_expected, cos, sin, 1e-6);
  ops.norm_rope_backward(view(d_actual), view(OnDevice(wide)), OnDevice(weight), dw_actual,
                         OnDevice(cos), OnDevice(sin), 1e-6);
  ExpectNear(d_actual, d_expected, "norm_rope_backward");
  ExpectNear(dw_actual, dw_expected, "norm_rope weight gradient");
}

TEST_P(DeviceOpsTest, Attention) {
  const OpTable& ops = OpsFor(TestDevice());
  const Documents documents = MakeDocuments({0, 1, 34, 34, 66, 191, 205});
  Documents on_device = documents;
  on_device.cu_seqlens = OnDevice(documents.cu_seqlens);
  constexpr int64_t kTokens = 205;
  for (const AttentionShape& shape :
       {AttentionShape{.num_heads = 4, .num_kv_heads = 2, .head_dim = 16, .scale = 0.25},
        AttentionShape{.num_heads = 3, .num_kv_heads = 3, .head_dim = 22, .scale = 0.2},
        AttentionShape{.num_heads = 9, .num_kv_heads = 3, .head_dim = 64, .scale = 0.125},
        AttentionShape{
            .num_heads = 4, .num_kv_heads = 2, .head_dim = 128, .scale = 0.09, .window = 40}}) {
    const int64_t N = shape.num_heads, K = shape.num_kv_heads, H = shape.head_dim;
    const auto split = [&](const at::Tensor& qkv, int64_t first, int64_t count) {
      return qkv.narrow(1, first * H, count * H).unflatten(1, {count, H});
    };
    const at::Tensor qkv = Rand({kTokens, (N + 2 * K) * H}), d_out = Rand({kTokens, N, H}),
                     qkv_device = OnDevice(qkv);
    const at::Tensor q = split(qkv, 0, N), k = split(qkv, N, K), v = split(qkv, N + K, K);
    const at::Tensor q_device = split(qkv_device, 0, N), k_device = split(qkv_device, N, K),
                     v_device = split(qkv_device, N + K, K);
    const AttentionResult expected = reference_.attention_forward(q, k, v, documents, shape);
    const AttentionResult actual =
        ops.attention_forward(q_device, k_device, v_device, on_device, shape);
    ExpectNear(actual.out_TNH, expected.out_TNH, "out");

    const at::Tensor d_expected = at::full(qkv.sizes(), 7.0, qkv.options()),
                     d_actual = OnDevice(d_expected.clone());
    reference_.attention_backward(d_out, q, k, v, expected, documents, shape,
                                  split(d_expected, 0, N), split(d_expected, N, K),
                                  split(d_expected, N + K, K));
    ops.attention_backward(OnDevice(d_out), q_device, k_device, v_device, actual, on_device, shape,
                           split(d_actual, 0, N), split(d_actual, N, K), split(d_actual, N + K, K));
    ExpectNear(d_actual, d_expected, "gradient");
  }
}

TEST_P(DeviceOpsTest, SwiGluAndCrossEntropy) {
  const OpTable& ops = OpsFor(TestDevice());
  const at::Tensor gate_up = Rand({65, 96}), d_out = Rand({65, 48});
  ExpectNear(ops.swiglu_forward(OnDevice(gate_up)), reference_.swiglu_forward(gate_up), "swiglu");
  ExpectNear(ops.swiglu_backward(OnDevice(d_out), OnDevice(gate_up.clone())),
             reference_.swiglu_backward(d_out, gate_up.clone()), "swiglu backward");

  const at::Tensor logits = Rand({37, 5003}) * 4.0,
                   targets = at::randint(5003, {37}, at::TensorOptions().dtype(at::kLong));
  const at::Tensor expected = logits.clone(), actual = OnDevice(logits.clone());
  const CrossEntropyOptions options{.scale = 0.125, .label_smoothing = 0.1};
  const at::Tensor weights = at::rand({37});
  const at::Tensor losses = reference_.cross_entropy(expected, targets, weights, options);
  ExpectNear(ops.cross_entropy(actual, OnDevice(targets), OnDevice(weights), options), losses,
             "losses");
  ExpectNear(actual, expected, "gradient of the logits");
  for (const SurpriseMeasure measure : {SurpriseMeasure::kEntropy, SurpriseMeasure::kMargin}) {
    ExpectNear(ops.surprise(OnDevice(logits), OnDevice(targets), measure),
               reference_.surprise(logits, targets, measure), "surprise");
  }
}

TEST_P(DeviceOpsTest, HeadInChunks) {
  const at::Tensor hidden = Rand({300, 48}), weight = Rand({997, 48}) * 0.2,
                   targets = at::randint(997, {300}, at::TensorOptions().dtype(at::kLong));
  const auto run = [&](c10::Device device, at::Tensor* grad) {
    const WeightAndGrad head{weight.to(device), at::zeros({997, 48}).to(device)};
    const LinearCrossEntropyResult result =
        LinearCrossEntropy(hidden.to(device).requires_grad_(true), targets.to(device), head,
                           {.gradient_scale = 0.01, .buffer_elements = 997 * 128});
    *grad = head.grad;
    return result;
  };
  at::Tensor grad_expected, grad_actual;
  const LinearCrossEntropyResult expected = run(at::kCPU, &grad_expected),
                                 actual = run(TestDevice(), &grad_actual);
  ExpectNear(actual.loss_sum, expected.loss_sum, "loss");
  ExpectNear(actual.d_hidden_RD, expected.d_hidden_RD, "gradient of the hidden states");
  ExpectNear(grad_actual, grad_expected, "gradient of the head");
}

TEST_P(DeviceOpsTest, GradientsOfWeightsAddUpInFp32) {
  const at::Tensor d = Rand({150, 70}), x = Rand({150, 40}),
                   ids = at::randint(11, {150}, at::TensorOptions().dtype(at::kLong));
  const at::Tensor product = at::mm(d.to(at::kDouble).t(), x.to(at::kDouble));
  at::Tensor out = OnDevice(at::full({70, 40}, 3.0));
  AddMatMul(out, OnDevice(d).t(), OnDevice(x));
  ExpectNear(out, (product + 3.0).to(at::kFloat), "product");

  const OpTable& ops = OpsFor(TestDevice());
  const at::Tensor embedding = at::randn({11, 70}), embedding_actual = OnDevice(embedding.clone());
  reference_.embedding_backward(d, ids, embedding);
  ops.embedding_backward(OnDevice(d), OnDevice(ids), embedding_actual);
  ExpectNear(embedding_actual, embedding, "embedding");
  const at::Tensor sums = at::randn({70}), sums_actual = OnDevice(sums.clone());
  reference_.add_column_sums(sums, d);
  ops.add_column_sums(sums_actual, OnDevice(d));
  ExpectNear(sums_actual, sums, "column sums");
}

TEST_P(DeviceOpsTest, OptimizerAndNorm) {
  constexpr int64_t kCount = 200003;
  const at::Tensor grad = at::randn({kCount}), master = at::randn({kCount}),
                   exp_avg = at::randn({kCount}) * 0.1,
                   exp_avg_sq = at::randn({kCount}).square() * 0.01;
  const AdamWUpdate update{.learning_rate = 1e-2,
                           .beta2 = 0.95,
                           .weight_decay = 0.1,
                           .gradient_factor = 0.37,
                           .step = 3};
  const auto run = [&](const OpTable& ops, c10::Device device) {
    std::vector<at::Tensor> state = {master.clone().to(device), exp_avg.clone().to(device),
                                     exp_avg_sq.clone().to(device), at::Tensor()};
    if (dtype() != at::kFloat)
      state[3] = at::zeros({kCount}, at::TensorOptions().device(device).dtype(dtype()));
    ops.adamw(state[0], grad.to(device), state[1], state[2], state[3], update);
    return state;
  };
  const std::vector<at::Tensor> expected = run(reference_, at::kCPU),
                                actual = run(OpsFor(TestDevice()), TestDevice());
  for (size_t i = 0; i < expected.size(); ++i) {
    if (expected[i].defined()) ExpectNear(actual[i], expected[i], "state");
  }
  ExpectNear(OpsFor(TestDevice()).sum_of_squares(OnDevice(grad)), reference_.sum_of_squares(grad),
             "sum of squares");
}

INSTANTIATE_TEST_SUITE_P(Types, DeviceOpsTest, ::testing::Values(at::kFloat, at::kBFloat16),
                         [](const auto& info) {
                           return std::string(info.param == at::kFloat ? "fp32" : "bf16");
                         });

// Quantized on the host, dequantized on the device.
TEST_P(DeviceOpsTest, Nf4) {
  for (int64_t columns : {7, 64, 576}) {
    const at::Tensor values = at::randn({65, columns}), expected = Rand({65, columns}),
                     actual = OnDevice(Rand({65, columns}));
    const Nf4Matrix host = Nf4Matrix::Zeros(65, columns, at::kCPU),
                    device = Nf4Matrix::Zeros(65, columns, TestDevice());
    QuantizeNf4(values, host);
    QuantizeNf4(values, device);
    reference_.dequantize_nf4(host, expected);
    DequantizeNf4(device, actual);
    EXPECT_TRUE(at::equal(actual.cpu(), expected)) << columns;
  }
}

TEST(ToDeviceTest, EveryPartOfABatchArrives) {
  const Microbatch batch{.ids = {5, 6, 7, 8, 9, 10},
                         .labels = {kIgnoreIndex, 6, 7, kIgnoreIndex, 9, 10},
                         .targets = {6, 7, kIgnoreIndex, 9, 10, kIgnoreIndex},
                         .positions = {0, 1, 2, 0, 1, 2},
                         .cu_seqlens = {0, 3, 6},
                         .target_tokens = 4};
  const DeviceBatch moved = ToDevice(batch, TestDevice());
  const auto values = [](const at::Tensor& x) {
    EXPECT_EQ(x.device().type(), TestDevice().type());
    const at::Tensor host = x.cpu().to(at::kLong);
    return std::vector<int64_t>(host.const_data_ptr<int64_t>(),
                                host.const_data_ptr<int64_t>() + host.numel());
  };
  EXPECT_EQ(values(moved.ids), (std::vector<int64_t>{5, 6, 7, 8, 9, 10}));
  EXPECT_EQ(values(moved.positions), (std::vector<int64_t>{0, 1, 2, 0, 1, 2}));
  EXPECT_EQ(values(moved.targets), (std::vector<int64_t>{6, 7, kIgnoreIndex, 9, 10, kIgnoreIndex}));
  EXPECT_EQ(values(moved.target_rows), (std::vector<int64_t>{0, 1, 3, 4}));
  EXPECT_EQ(values(moved.documents.cu_seqlens), (std::vector<int64_t>{0, 3, 6}));
  EXPECT_EQ(moved.documents.cu_seqlens.scalar_type(), at::kInt);
  EXPECT_TRUE(moved.documents.cu_seqlens.is_contiguous());
  EXPECT_EQ(moved.documents.cu_seqlens_host, batch.cu_seqlens);
  EXPECT_EQ(moved.documents.max_seqlen, 3);
}

}  // namespace
}  // namespace trainerd::engine
