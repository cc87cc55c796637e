// SPDX-License-Identifier: Apache-2.0
// Dropout of an adapter in the decoder: what its random numbers depend on. low_rank_test proves the
// formula and its derivatives.
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "engine/model/preference.h"
#include "tests/engine/model/lora_model.h"

namespace trainerd::engine {
namespace {

using testing::AdaptedModel;
using testing::Adapter;
using testing::kLinear;
using testing::kPacked;
using testing::TestDevice;

double Norm(const at::Tensor& x) {
  return std::sqrt(x.to(at::kDouble).square().sum().item<double>());
}

const std::vector<std::string> kEverywhere = {"embed_tokens", "q_proj",    "k_proj",
                                              "v_proj",       "o_proj",    "gate_proj",
                                              "up_proj",      "down_proj", "lm_head"};

const std::vector<std::string> kUpperLayer = {"layers.1.mlp.up_proj"};

// An adapter with dropout, on every layer unless a test names others.
class LoraDropoutTest : public ::testing::Test {
 protected:
  static std::unique_ptr<AdaptedModel> Model(double dropout, Precision precision = Precision::kFp32,
                                             const std::vector<std::string>& names = kEverywhere) {
    const char* const name = "llama3_rope_bias";
    AdapterSpec adapter = Adapter(golden::Config(golden::Read(name)), names, 4, 8.0);
    adapter.dropout = dropout;
    auto model = std::make_unique<AdaptedModel>(golden::Read(name), adapter, precision);
    model->SetAdapter(golden::File("adapter/lora")["scales"]);
    return model;
  }
  struct Result {
    double loss;
    at::Tensor gradient;
  };
  static Result Run(const AdaptedModel& model, const std::vector<std::vector<size_t>>& microbatches,
                    std::optional<uint64_t> key, Decoder* decoder = nullptr) {
    model.parameters->ZeroGrad();
    double sum = 0.0;
    for (const std::vector<size_t>& which : microbatches) {
      sum += (decoder != nullptr ? decoder : model.decoder.get())
                 ->ForwardBackward(model.Batch(which), 1.0 / model.targets(), key)
                 .item<double>();
    }
    return {sum / model.targets(), model.parameters->flat_grad().clone()};
  }
};

TEST_F(LoraDropoutTest, DependsOnTheKeyOfTheStep) {
  const auto model = Model(0.2);
  const Result first = Run(*model, kPacked, 1), again = Run(*model, kPacked, 1);
  EXPECT_EQ(first.loss, again.loss);
  EXPECT_TRUE(at::equal(first.gradient, again.gradient));
  EXPECT_NE(Run(*model, kPacked, 2).loss, first.loss);
  EXPECT_NE(Run(*model, kPacked, std::nullopt).loss, first.loss);
}

TEST_F(LoraDropoutTest, IsTheSameForAnyPackingAccumulationAndOrder) {
  const auto model = Model(0.2);
  const Result packed = Run(*model, kPacked, 1);
  for (const auto& microbatches :
       std::vector<std::vector<std::vector<size_t>>>{{{0}, {1}, {2}}, {{2}, {0, 1}}, {{2, 0, 1}}}) {
    const Result other = Run(*model, microbatches, 1);
    EXPECT_NEAR(other.loss, packed.loss, 1e-6 * packed.loss);
    EXPECT_LE(Norm(other.gradient - packed.gradient), 1e-5 * Norm(packed.gradient));
  }
}

TEST_F(LoraDropoutTest, ThreadsChangeGradientsByRoundingOnly) {
  const auto model = Model(0.2);
  at::set_num_threads(1);
  const Result one = Run(*model, kPacked, 1);
  at::set_num_threads(2);
  const Result two = Run(*model, kPacked, 1);
  EXPECT_NEAR(two.loss, one.loss, 1e-6 * one.loss);
  EXPECT_LE(Norm(two.gradient - one.gradient), 1e-6 * Norm(one.gradient));
}

TEST_F(LoraDropoutTest, RecomputedActivationsDrawTheSameNumbers) {
  // Without an adapter on the embedding, the input of the first layer needs no gradient.
  for (const auto& [precision, names] :
       {std::pair{Precision::kFp32, kEverywhere}, std::pair{Precision::kBf16, kEverywhere},
        std::pair{Precision::kFp32, kLinear}, std::pair{Precision::kFp32, kUpperLayer}}) {
    const auto model = Model(0.2, precision, names);
    const Result kept = Run(*model, kPacked, 1);
    for (const ActivationCheckpointing recomputed :
         {ActivationCheckpointing::kSelective, ActivationCheckpointing::kFull}) {
      Decoder decoder(golden::Config(model->golden), *model->parameters,
                      {.activation_checkpointing = recomputed});
      const Result result = Run(*model, kPacked, 1, &decoder);
      EXPECT_EQ(result.loss, kept.loss);
      EXPECT_TRUE(at::equal(result.gradient, kept.gradient));
    }
  }
}

TEST_F(LoraDropoutTest, NeighborsDoNotChangeTheLossOfADocument) {
  const auto model = Model(0.2);
  Microbatch batch = golden::Pack(model->golden, {0, 1, 2});
  const int64_t begin = batch.cu_seqlens[2];
  std::fill(batch.targets.begin(), batch.targets.begin() + begin, kIgnoreIndex);
  const auto loss = [&] {
    return model->decoder->ForwardBackward(ToDevice(batch, TestDevice()), 1.0, 1).item<float>();
  };
  const float before = loss();
  for (int64_t t = 0; t < begin; ++t)
    batch.ids[static_cast<size_t>(t)] = (batch.ids[static_cast<size_t>(t)] + 7) % 97;
  EXPECT_EQ(loss(), before);
}

// In TRL the two answers are two rows of a batch, each with a mask of its own.
TEST_F(LoraDropoutTest, EachAnswerOfAPairDrawsItsOwnNumbers) {
  const auto model = Model(0.2);
  Microbatch batch = golden::Pack(model->golden, {0, 0});
  batch.is_pairs = true;
  const DeviceBatch pair = ToDevice(batch, TestDevice());
  const PairReference reference{.log_probabilities_P2 = LogProbabilities(*model->decoder, pair)};
  const auto log_probabilities = [&](std::optional<uint64_t> key) {
    const v1::PreferenceMetrics means =
        MeansOf(TrainPairs(*model->decoder, pair, reference, 1.0, key).cpu(), 1).metrics;
    return std::pair(means.chosen_log_probability(), means.rejected_log_probability());
  };
  const auto without = log_probabilities(std::nullopt), first = log_probabilities(1);
  EXPECT_EQ(without.first, without.second);
  EXPECT_NE(first.first, without.first);
  EXPECT_NE(first.second, without.second);
  EXPECT_NE(first.first, first.second);
  EXPECT_EQ(log_probabilities(1), first);
}

TEST_F(LoraDropoutTest, EvaluationDropsNothing) {
  const auto with = Model(0.5), without = Model(0.0);
  const DeviceBatch batch = with->Batch({0, 1, 2});
  EXPECT_TRUE(at::equal(with->decoder->LossSum(batch), without->decoder->LossSum(batch)));
  EXPECT_TRUE(at::equal(with->decoder->Logits(batch), without->decoder->Logits(batch)));
}

}  // namespace
}  // namespace trainerd::engine
