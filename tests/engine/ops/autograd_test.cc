// SPDX-License-Identifier: Apache-2.0
// The graph built by RecordBackward, and the ops on it: gradients flow, saved tensors are freed as
// soon as they are used, and inputs that can be made again are not kept. Expectations by hand.
#include "engine/ops/autograd.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/one_hot.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "engine/ops/cross_entropy.h"
#include "engine/ops/layers/embedding.h"
#include "engine/ops/layers/linear.h"
#include "engine/ops/layers/rms_norm.h"
#include "engine/ops/layers/swiglu.h"

namespace trainerd::engine {
namespace {

at::Tensor Ids(std::initializer_list<int64_t> ids) {
  return at::tensor(at::ArrayRef<int64_t>(ids));
}

TEST(AutogradTest, RunsBackwardsInReverseAndFreesWhatTheyCaptured) {
  std::vector<int> order;
  at::Tensor saved = at::zeros({3});
  const c10::weak_intrusive_ptr<c10::TensorImpl> watch(saved.getIntrusivePtr());
  at::Tensor a = at::zeros({2}), b = at::zeros({2});
  RecordBackward("first", {}, {a}, [&order](std::vector<at::Tensor>& gradients) {
    EXPECT_EQ(gradients[0].sum().item<float>(), 6.0f);
    order.push_back(1);
    return std::vector<at::Tensor>{};
  });
  RecordBackward("second", {a}, {b}, [&order, saved](std::vector<at::Tensor>& gradients) {
    order.push_back(2);
    return std::vector<at::Tensor>{gradients[0] * 3.0};
  });
  saved.reset();
  EXPECT_FALSE(watch.expired());
  b.backward(at::ones_like(b));
  EXPECT_EQ(order, (std::vector<int>{2, 1}));
  EXPECT_TRUE(watch.expired());
}

TEST(AutogradTest, NothingIsRecordedWithoutGradientMode) {
  const at::NoGradGuard no_grad;
  const WeightAndGrad embedding{at::randn({4, 3}), at::zeros({4, 3})};
  EXPECT_FALSE(Embedding(Ids({1, 2}), embedding).requires_grad());
}

TEST(AutogradTest, IsRecordingFollowsGradientMode) {
  EXPECT_TRUE(IsRecording());
  const at::NoGradGuard no_grad;
  EXPECT_FALSE(IsRecording());
}

TEST(AutogradTest, DetachedSharesStorageWithoutHistory) {
  const at::Tensor x = at::zeros({2}).set_requires_grad(true);
  const at::Tensor y = x * 2.0;
  EXPECT_TRUE(y.requires_grad());
  EXPECT_FALSE(Detached(y).requires_grad());
  EXPECT_EQ(Detached(y).data_ptr(), y.data_ptr());
  EXPECT_FALSE(Detached(at::Tensor()).defined());
}

TEST(AutogradTest, LinearAddsToTheMainGradientsOverCalls) {
  const WeightAndGrad embedding{at::randn({4, 3}), at::zeros({4, 3})};
  const LinearWeights linear{at::randn({5, 3}), at::zeros({5, 3}), at::randn({5}), at::zeros({5})};
  const at::Tensor ids = Ids({2, 0, 2}), d = at::randn({3, 5});
  for (int call = 0; call < 2; ++call) {
    at::Tensor y = Linear(Embedding(ids, embedding), linear);
    EXPECT_TRUE(y.requires_grad());
    y.backward(d);
  }
  const at::Tensor x = embedding.weight.index_select(0, ids);
  EXPECT_LE((linear.weight_grad - at::mm(d.t(), x) * 2.0).abs().max().item<float>(), 1e-5);
  EXPECT_LE((linear.bias_grad - d.sum(0) * 2.0).abs().max().item<float>(), 1e-5);
  at::Tensor expected = at::zeros({4, 3});
  expected.index_add_(0, ids, at::mm(d, linear.weight) * 2.0);
  EXPECT_LE((embedding.grad - expected).abs().max().item<float>(), 1e-5);
}

TEST(AutogradTest, FrozenOpsRecordNothing) {
  const WeightAndGrad frozen{at::randn({4, 3}), at::Tensor()};
  const LinearWeights linear{at::randn({5, 3}), at::Tensor(), at::randn({5}), at::Tensor()};
  const at::Tensor x = Embedding(Ids({1, 2}), frozen);
  EXPECT_FALSE(x.requires_grad());
  EXPECT_FALSE(SelectRows(x, Ids({0})).requires_grad());
  EXPECT_FALSE(Linear(x, linear).requires_grad());
  const WeightAndGrad norm{at::randn({3}), at::Tensor()}, head{at::randn({6, 3}), at::Tensor()};
  const AddNormed normed = AddRmsNorm(x, at::Tensor(), norm, 1e-5);
  EXPECT_FALSE(normed.normed_TD.requires_grad() || normed.sum_TD.requires_grad());
  EXPECT_EQ(normed.recompute_normed, nullptr);
  EXPECT_FALSE(SwiGlu(at::randn({2, 8})).out.requires_grad());
  EXPECT_FALSE(LinearCrossEntropy(x, Ids({1, 2}), head, {}).d_hidden_RD.defined());
}

// The norm is the lowest op that trains: its sum needs no gradient, its weight gets one.
TEST(AutogradTest, NormAboveFrozenOpsGetsItsWeightGradient) {
  const at::Tensor x = at::randn({4, 3});
  const WeightAndGrad norm{at::randn({3}), at::zeros({3})};
  const AddNormed result = AddRmsNorm(x, at::Tensor(), norm, 1e-5);
  EXPECT_FALSE(result.sum_TD.requires_grad());
  const at::Tensor d = at::randn({4, 3});
  at::Tensor(result.normed_TD).backward(d);
  const at::Tensor rstd = (x.square().mean(-1, /*keepdim=*/true) + 1e-5).rsqrt();
  EXPECT_LE((norm.grad - (d * x * rstd).sum(0)).abs().max().item<float>(), 1e-5);
}

// A joined layer of which only the middle matrix is frozen equals the layer in one piece.
TEST(AutogradTest, LinearOfSeveralMatricesEqualsOneMatrix) {
  const at::Tensor weight = at::randn({9, 3}), bias = at::randn({9}), d = at::randn({4, 9});
  const auto part = [&](int64_t begin, bool trains) {
    return LinearWeights{weight.narrow(0, begin, 3), trains ? at::zeros({3, 3}) : at::Tensor(),
                         bias.narrow(0, begin, 3), trains ? at::zeros({3}) : at::Tensor()};
  };
  const LinearWeights whole{weight, at::zeros({9, 3}), bias, at::zeros({9})};
  LinearWeights split = part(0, true);
  split.more = {part(3, false), part(6, true)};
  std::vector<at::Tensor> outputs, input_gradients;
  for (const LinearWeights& weights : {whole, split}) {
    WeightAndGrad embedding{at::ones({4, 3}).cumsum(0), at::zeros({4, 3})};
    at::Tensor y = Linear(Embedding(Ids({0, 1, 2, 3}), embedding), weights);
    outputs.push_back(y.detach());
    y.backward(d);
    input_gradients.push_back(embedding.grad);
  }
  EXPECT_LE((outputs[0] - outputs[1]).abs().max().item<float>(), 1e-5);
  EXPECT_LE((input_gradients[0] - input_gradients[1]).abs().max().item<float>(), 1e-5);
  for (const auto& [part_grad, begin] :
       {std::pair{split.weight_grad, 0}, std::pair{split.more[1].weight_grad, 6}}) {
    EXPECT_LE((part_grad - whole.weight_grad.narrow(0, begin, 3)).abs().max().item<float>(), 1e-5);
  }
  EXPECT_LE((split.more[1].bias_grad - whole.bias_grad.narrow(0, 6, 3)).abs().max().item<float>(),
            1e-5);
}

TEST(AutogradTest, LinearRecomputesItsInput) {
  const LinearWeights linear{at::randn({5, 3}), at::zeros({5, 3}), at::Tensor(), at::Tensor()};
  at::Tensor x = at::randn({4, 3});
  const at::Tensor copy = x.clone(), d = at::randn({4, 5});
  const c10::weak_intrusive_ptr<c10::StorageImpl> watch(
      c10::intrusive_ptr<c10::StorageImpl>::reclaim_copy(x.storage().unsafeGetStorageImpl()));
  int recomputed = 0;
  at::Tensor y = Linear(x, linear, [&] {
    ++recomputed;
    return copy;
  });
  x.reset();
  EXPECT_TRUE(watch.expired());
  y.backward(d);
  EXPECT_EQ(recomputed, 1);
  EXPECT_LE((linear.weight_grad - at::mm(d.t(), copy)).abs().max().item<float>(), 1e-5);
}

// y = x·Wᵀ over an embedding, in a region or not.
struct LinearModel {
  WeightAndGrad embedding{at::ones({4, 3}).cumsum(0), at::zeros({4, 3})};
  LinearWeights first{at::ones({5, 3}).cumsum(1), at::zeros({5, 3}), at::Tensor(), at::Tensor()};
  LinearWeights second{at::ones({2, 5}).cumsum(0), at::zeros({2, 5}), at::Tensor(), at::Tensor()};
};

TEST(CheckpointTest, RunsTheRegionOnceMoreAndKeepsNothing) {
  LinearModel plain, checkpointed;
  const at::Tensor ids = Ids({2, 0, 2}), d = at::randn({3, 2});
  at::Tensor expected = Linear(Linear(Embedding(ids, plain.embedding), plain.first), plain.second);
  expected.backward(d);

  int runs = 0;
  std::vector<c10::weak_intrusive_ptr<c10::TensorImpl>> inside;
  const std::vector<Recomputable> outputs =
      Checkpoint("region", {{Embedding(ids, checkpointed.embedding), nullptr}},
                 [&](const std::vector<at::Tensor>& inputs) {
                   ++runs;
                   const at::Tensor middle = Linear(inputs[0], checkpointed.first);
                   inside.emplace_back(middle.getIntrusivePtr());
                   return std::vector<at::Tensor>{Linear(middle, checkpointed.second)};
                 });
  EXPECT_EQ(runs, 1);
  EXPECT_TRUE(inside[0].expired());
  at::Tensor y = outputs[0].tensor;
  EXPECT_TRUE(at::equal(y, expected));
  y.backward(d);
  EXPECT_EQ(runs, 2);
  EXPECT_TRUE(inside[1].expired());
  EXPECT_TRUE(at::equal(checkpointed.first.weight_grad, plain.first.weight_grad));
  EXPECT_TRUE(at::equal(checkpointed.second.weight_grad, plain.second.weight_grad));
  EXPECT_TRUE(at::equal(checkpointed.embedding.grad, plain.embedding.grad));
}

// The op behind a region recomputes its input from the run that serves the region's backward.
TEST(CheckpointTest, RecomputedOutputSharesTheSecondRun) {
  LinearModel model;
  const at::Tensor ids = Ids({2, 0, 1}), d = at::randn({3, 2});
  int runs = 0;
  const std::vector<Recomputable> outputs =
      Checkpoint("region", {{Embedding(ids, model.embedding), nullptr}},
                 [&](const std::vector<at::Tensor>& inputs) {
                   ++runs;
                   return std::vector<at::Tensor>{Linear(inputs[0], model.first)};
                 });
  at::Tensor y = Linear(outputs[0].tensor, model.second, outputs[0].recompute);
  y.backward(d);
  EXPECT_EQ(runs, 2);
  EXPECT_LE((model.second.weight_grad - at::mm(d.t(), outputs[0].tensor)).abs().max().item<float>(),
            1e-4);
}

// An input that can be recomputed is not kept.
TEST(CheckpointTest, RecomputesItsInputs) {
  LinearModel model;
  const at::Tensor ids = Ids({1, 3});
  at::Tensor x = Embedding(ids, model.embedding);
  const at::Tensor copy = Detached(x).clone();
  const c10::weak_intrusive_ptr<c10::StorageImpl> watch(
      c10::intrusive_ptr<c10::StorageImpl>::reclaim_copy(x.storage().unsafeGetStorageImpl()));
  int recomputed = 0;
  std::vector<Recomputable> outputs =
      Checkpoint("region",
                 {{x,
                   [&] {
                     ++recomputed;
                     return copy;
                   }}},
                 [&](const std::vector<at::Tensor>& inputs) {
                   return std::vector<at::Tensor>{Linear(inputs[0], model.first)};
                 });
  x.reset();
  EXPECT_TRUE(watch.expired());
  outputs[0].tensor.backward(at::ones({2, 5}));
  EXPECT_EQ(recomputed, 1);
  EXPECT_EQ(model.embedding.grad[1].sum().item<float>(), 5.0f * (1 + 2 + 3));
}

// Frozen ops record nothing, so there is nothing to run again.
TEST(CheckpointTest, FrozenRegionRecordsNothing) {
  const LinearWeights frozen{at::randn({5, 3}), at::Tensor(), at::Tensor(), at::Tensor()};
  const LinearWeights trained{at::randn({5, 3}), at::zeros({5, 3}), at::Tensor(), at::Tensor()};
  const at::Tensor x = at::randn({4, 3});
  const std::vector<Recomputable> outputs =
      Checkpoint("region", {{x, nullptr}}, [&](const std::vector<at::Tensor>& inputs) {
        return std::vector<at::Tensor>{Linear(inputs[0], frozen), Linear(inputs[0], trained)};
      });
  EXPECT_FALSE(outputs[0].tensor.requires_grad());
  EXPECT_EQ(outputs[0].recompute, nullptr);
  ASSERT_TRUE(outputs[1].tensor.requires_grad());
  const at::Tensor d = at::randn({4, 5});
  at::Tensor(outputs[1].tensor).backward(d);
  EXPECT_LE((trained.weight_grad - at::mm(d.t(), x)).abs().max().item<float>(), 1e-5);
}

TEST(AutogradTest, SelectRowsPutsGradientsBack) {
  const WeightAndGrad embedding{at::randn({6, 2}), at::zeros({6, 2})};
  at::Tensor y = SelectRows(Embedding(Ids({0, 1, 2, 3}), embedding), Ids({3, 1}));
  EXPECT_TRUE(at::equal(y, embedding.weight.index_select(0, Ids({3, 1}))));
  const at::Tensor d = at::randn({2, 2});
  y.backward(d);
  EXPECT_TRUE(at::equal(embedding.grad[3], d[0]));
  EXPECT_TRUE(at::equal(embedding.grad[1], d[1]));
  EXPECT_EQ(embedding.grad[0].abs().sum().item<float>(), 0.0f);
}

TEST(LinearCrossEntropyTest, ChunksGiveWhatOneChunkGives) {
  const at::Tensor hidden = at::randn({23, 6}).requires_grad_(true),
                   targets = at::randint(11, {23}, at::TensorOptions().dtype(at::kLong)),
                   weight = at::randn({11, 6});
  std::vector<at::Tensor> losses, d_hidden, d_weight;
  for (int64_t buffer : {int64_t{0}, int64_t{11 * 5}, int64_t{1}}) {
    const WeightAndGrad head{weight, at::zeros({11, 6})};
    const LinearCrossEntropyResult result = LinearCrossEntropy(
        hidden, targets, head, {.gradient_scale = 0.25, .buffer_elements = buffer});
    losses.push_back(result.loss_sum), d_hidden.push_back(result.d_hidden_RD),
        d_weight.push_back(head.grad);
  }
  const at::Tensor log_p = at::log_softmax(at::mm(hidden, weight.t()), 1);
  EXPECT_NEAR(losses[0].item<double>(), -log_p.gather(1, targets.unsqueeze(1)).sum().item<double>(),
              1e-4);
  const at::Tensor d_logits = (log_p.exp() - at::one_hot(targets, 11)) * 0.25;
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(losses[i].item<double>(), losses[0].item<double>(), 1e-4);
    EXPECT_LE((d_hidden[i] - at::mm(d_logits, weight)).abs().max().item<float>(), 1e-5);
    EXPECT_LE((d_weight[i] - at::mm(d_logits.t(), hidden)).abs().max().item<float>(), 1e-5);
  }
}

TEST(LinearCrossEntropyTest, WithoutGradientTouchesNothing) {
  const WeightAndGrad head{at::randn({7, 4}), at::zeros({7, 4})};
  const auto result =
      LinearCrossEntropy(at::randn({3, 4}), Ids({1, 2, 3}), head, {.with_gradient = false});
  EXPECT_FALSE(result.d_hidden_RD.defined());
  EXPECT_EQ(head.grad.abs().sum().item<float>(), 0.0f);
}

}  // namespace
}  // namespace trainerd::engine
