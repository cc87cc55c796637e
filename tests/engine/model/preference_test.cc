// SPDX-License-Identifier: Apache-2.0
// Preference tuning over 40 steps of AdamW with clipping against TRL 1.16.0's DPOTrainer
// (tests/golden/training/preference.json, make_preference_goldens.py): loss, gradient norm and
// metrics. What else must hold: independence of accumulation, of the order of the pairs and of
// neighbors; the model without its adapter; activation checkpointing; the gradient against
// differences.
#include "engine/model/preference.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "engine/optim/global_norm.h"
#include "tests/engine/model/lora_model.h"
#include "tests/engine/optim/optimizers.h"

namespace trainerd::engine {
namespace {

using testing::TestDevice;
using Pairs = std::vector<size_t>;
using Microbatches = std::vector<Pairs>;

const Microbatches kPacked = {{0, 1, 2, 3}}, kNotPacked = {{0}, {1}, {2}, {3}},
                   kTwo = {{2, 0}, {3, 1}};

Microbatch BatchOf(const nlohmann::json& file, const Pairs& which) {
  Microbatch batch;
  batch.is_pairs = true;
  for (const size_t pair : which) {
    for (const char* answer : {"chosen_ids", "rejected_ids"}) {
      auto ids = file["pairs"][pair]["prompt_ids"].get<std::vector<int32_t>>();
      const size_t prompt = ids.size();
      for (const int32_t id : file["pairs"][pair][answer]) ids.push_back(id);
      for (size_t t = 0; t < ids.size(); ++t) {
        batch.ids.push_back(ids[t]);
        batch.labels.push_back(t < prompt ? kIgnoreIndex : ids[t]);
        batch.targets.push_back(t + 1 < ids.size() && t + 1 >= prompt ? ids[t + 1] : kIgnoreIndex);
        batch.positions.push_back(static_cast<int32_t>(t));
        batch.target_tokens += batch.targets.back() != kIgnoreIndex;
      }
      batch.cu_seqlens.push_back(static_cast<int32_t>(batch.ids.size()));
      batch.examples.push_back(static_cast<int64_t>(pair));
    }
  }
  return batch;
}

PreferenceOptions OptionsOf(const nlohmann::json& c) {
  EXPECT_TRUE(c["loss"] == "sigmoid" || c["loss"] == "ipo");
  return {.loss = c["loss"] == "ipo" ? PreferenceLoss::kIpo : PreferenceLoss::kSigmoid,
          .beta = c["beta"]};
}

// A model and its reference log-probabilities.
class PairModel {
 public:
  PairModel(const nlohmann::json& file, const nlohmann::json& c, Precision precision,
            const DecoderOptions& options = {})
      : file_(file), options_(OptionsOf(c)) {
    const nlohmann::json golden = golden::Read(c["model"]);
    const ModelConfig config = golden::Config(golden);
    golden::WriteFolder(golden, folder_.path());
    std::optional<AdapterSpec> adapter;
    if (!c["adapter"].is_null()) {
      adapter = testing::Adapter(config, c["adapter"]["target_modules"], c["adapter"]["r"],
                                 c["adapter"]["lora_alpha"]);
    }
    parameters = *ParameterSet::Create(config, precision, TestDevice(), /*frozen=*/{},
                                       adapter ? &*adapter : nullptr);
    const absl::Status loaded = parameters->Load(**HfFolder::Open(folder_.path()));
    EXPECT_TRUE(loaded.ok()) << loaded;
    if (adapter) testing::SetAdapter(*parameters, file["scales"]);
    decoder = std::make_unique<Decoder>(config, *parameters, options);
    Decoder reference(config, *parameters, {.with_adapter = false});
    reference_ = LogProbabilities(reference, Batch({0, 1, 2, 3}));
  }

  DeviceBatch Batch(const Pairs& which) const {
    return ToDevice(BatchOf(file_, which), TestDevice());
  }
  PairReference Reference(const Pairs& which) const {
    std::vector<at::Tensor> rows;
    for (const size_t pair : which) rows.push_back(reference_[static_cast<int64_t>(pair)]);
    return {.options = options_, .log_probabilities_P2 = at::stack(rows)};
  }
  // The gradients of the mean loss are in the parameters.
  PairMeans Backward(const Microbatches& microbatches) {
    parameters->ZeroGrad();
    at::Tensor sums = at::zeros({kPairSums}, at::kDouble);
    for (const Pairs& which : microbatches)
      sums.add_(TrainPairs(*decoder, Batch(which), Reference(which), 0.25).cpu());
    return MeansOf(sums, 4);
  }

 private:
  const nlohmann::json& file_;
  const PreferenceOptions options_;
  TempDir folder_;
  at::Tensor reference_;

 public:
  std::unique_ptr<ParameterSet> parameters;
  std::unique_ptr<Decoder> decoder;
};

std::vector<std::pair<std::string, double>> Named(const v1::PreferenceMetrics& metrics) {
  return {{"chosen_reward", metrics.chosen_reward()},
          {"rejected_reward", metrics.rejected_reward()},
          {"margin", metrics.margin()},
          {"accuracy", metrics.accuracy()},
          {"chosen_log_probability", metrics.chosen_log_probability()},
          {"rejected_log_probability", metrics.rejected_log_probability()}};
}

class PreferenceTest : public ::testing::TestWithParam<std::tuple<std::string, Precision, bool>> {
 protected:
  // For matrices this small, a second thread costs more than it saves.
  void SetUp() override { at::set_num_threads(1); }
  bool is_fp32() const { return std::get<1>(GetParam()) == Precision::kFp32; }

  const nlohmann::json file_ = golden::File("training/preference");
  const nlohmann::json case_ = file_["cases"][std::get<0>(GetParam())];
};

// bf16 keeps 8 bits of each activation. A log-probability of an answer is a sum over its tokens,
// and the losses are functions of differences of such sums, which are small at first: the error is
// a share of the sums, not of the loss. So the bounds in bf16 are shares of the first loss and of
// the largest norm.
TEST_P(PreferenceTest, FortyStepsEqualTrl) {
  PairModel model(file_, case_, std::get<1>(GetParam()));
  v1::OptimizerConfig config = testing::AdamWConfig();
  config.set_betas(0, file_["betas"][0]);
  config.set_betas(1, file_["betas"][1]);
  config.set_weight_decay(file_["weight_decay"]);
  const std::unique_ptr<Optimizer> optimizer = testing::Build(config, *model.parameters);
  const auto norms = case_["grad_norms"].get<std::vector<double>>();
  const double first_loss = case_["losses"][0],
               largest_norm = *std::max_element(norms.begin(), norms.end());
  double worst_loss = 0, worst_norm = 0, worst_reward = 0;
  for (size_t step = 0; step < norms.size(); ++step) {
    const PairMeans ours = model.Backward(std::get<2>(GetParam()) ? kPacked : kNotPacked);
    const double loss = case_["losses"][step],
                 norm = GlobalNorm(model.parameters->flat_grad()).item<double>();
    worst_loss = std::max(worst_loss, std::abs(ours.loss - loss) / (is_fp32() ? loss : first_loss));
    worst_norm = std::max(worst_norm,
                          std::abs(norm - norms[step]) / (is_fp32() ? norms[step] : largest_norm));
    for (const auto& [name, value] : Named(ours.metrics)) {
      const double expected = case_["metrics"][name][step];
      if (name == "accuracy") {
        // At the start the margins are 0 but for rounding.
        if (is_fp32() && std::abs(case_["metrics"]["margin"][step].get<double>()) > 1e-3) {
          EXPECT_EQ(value, expected) << step;
        }
        continue;
      }
      worst_reward =
          std::max(worst_reward, std::abs(value - expected) / (1.0 + std::abs(expected)));
    }
    const double clip = std::min(1.0, file_["max_grad_norm"].get<double>() / (norm + 1e-6));
    optimizer->Step({case_["learning_rate"].get<double>()}, clip, static_cast<int64_t>(step) + 1);
  }
  EXPECT_LE(worst_loss, is_fp32() ? 1e-4 : 5e-2);
  EXPECT_LE(worst_norm, is_fp32() ? 1e-4 : 1e-1);
  EXPECT_LE(worst_reward, is_fp32() ? 1e-4 : 5e-2);
}

std::vector<std::string> CaseNames() {
  std::vector<std::string> names;
  const nlohmann::json file = golden::File("training/preference");
  for (const auto& [name, unused] : file["cases"].items()) names.push_back(name);
  return names;
}

INSTANTIATE_TEST_SUITE_P(Cases, PreferenceTest,
                         ::testing::Combine(::testing::ValuesIn(CaseNames()),
                                            ::testing::Values(Precision::kFp32, Precision::kBf16),
                                            ::testing::Bool()),
                         [](const auto& info) {
                           return absl::StrCat(
                               std::get<0>(info.param),
                               std::get<1>(info.param) == Precision::kFp32 ? "_fp32" : "_bf16",
                               std::get<2>(info.param) ? "_packed" : "_not_packed");
                         });

class PairsTest : public ::testing::TestWithParam<std::string> {
 protected:
  const nlohmann::json file_ = golden::File("training/preference");
  const nlohmann::json case_ = file_["cases"][GetParam()];
};

TEST_P(PairsTest, NeitherOrderNorAccumulationChangesAnything) {
  PairModel model(file_, case_, Precision::kFp32);
  const PairMeans expected = model.Backward(kPacked);
  const at::Tensor gradient = model.parameters->flat_grad().clone();
  for (const Microbatches& others : {Microbatches{{3, 1, 0, 2}}, kTwo, kNotPacked}) {
    const PairMeans means = model.Backward(others);
    EXPECT_NEAR(means.loss, expected.loss, 1e-6 * expected.loss);
    EXPECT_NEAR(means.metrics.margin(), expected.metrics.margin(), 1e-5);
    EXPECT_LE((model.parameters->flat_grad() - gradient).norm().item<double>(),
              2e-6 * gradient.norm().item<double>());
  }
}

TEST_P(PairsTest, APerturbedPairKeepsTheBitsOfTheOthers) {
  for (const Precision precision : {Precision::kFp32, Precision::kBf16}) {
    PairModel model(file_, case_, precision);
    Microbatch batch = BatchOf(file_, {0, 1, 2, 3});
    const at::Tensor before = LogProbabilities(*model.decoder, ToDevice(batch, TestDevice()));
    for (int32_t t = batch.cu_seqlens[2]; t < batch.cu_seqlens[4]; ++t) {
      int32_t& id = batch.ids[static_cast<size_t>(t)];
      id = (id + 7) % 97;
    }
    const at::Tensor after = LogProbabilities(*model.decoder, ToDevice(batch, TestDevice()));
    for (const int64_t pair : {0, 2, 3}) EXPECT_TRUE(at::equal(before[pair], after[pair])) << pair;
    EXPECT_FALSE(at::equal(before[1], after[1]));
  }
}

TEST_P(PairsTest, EvaluationEqualsTraining) {
  PairModel model(file_, case_, Precision::kFp32);
  const at::Tensor trained = TrainPairs(*model.decoder, model.Batch({1, 3}),
                                        model.Reference({1, 3}), 1.0),
                   evaluated =
                       EvaluatePairs(*model.decoder, model.Batch({1, 3}), model.Reference({1, 3}));
  EXPECT_TRUE(at::equal(trained, evaluated));
}

TEST_P(PairsTest, CheckpointingKeepsTheBits) {
  PairModel model(file_, case_, Precision::kFp32);
  const double loss = model.Backward(kTwo).loss;
  for (const ActivationCheckpointing checkpointing :
       {ActivationCheckpointing::kSelective, ActivationCheckpointing::kFull}) {
    PairModel other(file_, case_, Precision::kFp32, {.activation_checkpointing = checkpointing});
    EXPECT_EQ(other.Backward(kTwo).loss, loss);
    EXPECT_TRUE(at::equal(other.parameters->flat_grad(), model.parameters->flat_grad()));
  }
}

// Along the gradient: (L(θ + h g) − L(θ − h g)) / 2h = |g|².
TEST_P(PairsTest, GradientAgreesWithDifferences) {
  PairModel model(file_, case_, Precision::kFp32);
  model.Backward(kPacked);
  const at::Tensor gradient = model.parameters->flat_grad().clone(),
                   master = model.parameters->flat_master().clone();
  const double squared = gradient.to(at::kDouble).square().sum().item<double>();
  const double h = 1e-3 / std::sqrt(squared);
  const auto loss = [&](double by) {
    model.parameters->flat_master().copy_(master + gradient * by);
    model.parameters->PublishCompute();
    return MeansOf(EvaluatePairs(*model.decoder, model.Batch({0, 1, 2, 3}),
                                 model.Reference({0, 1, 2, 3}))
                       .cpu(),
                   4)
        .loss;
  };
  EXPECT_NEAR((loss(h) - loss(-h)) / (2 * h), squared, 1e-2 * squared);
}

INSTANTIATE_TEST_SUITE_P(Cases, PairsTest, ::testing::ValuesIn(CaseNames()),
                         [](const auto& info) { return info.param; });

TEST(ReferenceDecoderTest, IsTheModelWithoutItsAdapter) {
  const nlohmann::json file = golden::File("training/preference"),
                       lora = golden::File("adapter/lora");
  // Embedding and head have adapters, too.
  const nlohmann::json c = lora["cases"]["head_and_embedding_tied"];
  testing::AdaptedModel model(golden::Read(c["model"]),
                              testing::Adapter(golden::Config(golden::Read(c["model"])),
                                               c["target_modules"].get<std::vector<std::string>>(),
                                               c["r"], c["lora_alpha"]),
                              Precision::kFp32);
  Decoder without(golden::Config(model.golden), *model.parameters, {.with_adapter = false});
  const DeviceBatch batch = ToDevice(BatchOf(file, {0, 2}), TestDevice());
  const at::Tensor start = LogProbabilities(*model.decoder, batch);
  EXPECT_TRUE(at::equal(LogProbabilities(without, batch), start));
  model.SetAdapter(lora["scales"]);
  EXPECT_TRUE(at::equal(LogProbabilities(without, batch), start));
  EXPECT_FALSE(at::equal(LogProbabilities(*model.decoder, batch), start));
}

TEST(PairsWithoutTargetsTest, HaveTheLossOfEqualAnswersAndNoGradient) {
  const nlohmann::json file = golden::File("training/preference");
  PairModel model(file, file["cases"]["sigmoid"], Precision::kFp32);
  Microbatch batch = BatchOf(file, {0});
  std::fill(batch.targets.begin(), batch.targets.end(), kIgnoreIndex);
  std::fill(batch.labels.begin(), batch.labels.end(), kIgnoreIndex);
  batch.target_tokens = 0;
  model.parameters->ZeroGrad();
  const PairReference reference{.options = {.beta = 0.1},
                                .log_probabilities_P2 = at::zeros({1, 2}, at::kDouble)};
  const at::Tensor sums = TrainPairs(*model.decoder, ToDevice(batch, TestDevice()), reference, 1.0);
  EXPECT_NEAR(sums[0].item<double>(), std::log(2.0), 1e-15);
  EXPECT_EQ(GlobalNorm(model.parameters->flat_grad()).item<double>(), 0.0);
}

}  // namespace
}  // namespace trainerd::engine
