// SPDX-License-Identifier: Apache-2.0
// What holds of every method, in one table. 40 steps of loss and gradient norm, packed and not,
// against torch, transformers and peft (tests/golden/training/make_method_goldens.py), where none
// of training_loss_test, lora_test, qlora_test, preference_test, muon_test and adamw_8bit_test
// compares them. And what needs no reference: a step in one or more microbatches, the order of
// documents, their neighbors, and threads.
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "engine/optim/global_norm.h"
#include "tests/engine/model/lora_model.h"
#include "tests/engine/optim/optimizers.h"

namespace trainerd::engine {
namespace {

using testing::kLinear;
using testing::kNotPacked;
using testing::kPacked;
using testing::TestDevice;
using Microbatches = std::vector<std::vector<size_t>>;

std::string PrecisionName(Precision precision) {
  switch (precision) {
    case Precision::kFp32:
      return "fp32";
    case Precision::kBf16:
      return "bf16";
    case Precision::kBf16Sr:
      return "bf16_sr";
    case Precision::kBf16SrAccumulating:
      return "bf16_sr_accumulating";
  }
  return "";
}

double Norm(const at::Tensor& x) {
  return std::sqrt(x.to(at::kDouble).square().sum().item<double>());
}

// How a golden model trains.
struct Method {
  const char* name;
  const char* model = "qwen3";
  std::vector<std::string> freeze;
  // Names of the adapted layers; none without an adapter.
  std::vector<std::string> lora;
  int64_t rank = 4;
  double alpha = 8.0;
  Quantization quantization = Quantization::kNone;
  DecoderOptions options;
  bool has_weights = false;
};

struct Model {
  Model(const Method& method, Precision precision)
      : golden(golden::Read(method.model)), has_weights(method.has_weights) {
    golden::WriteFolder(golden, folder.path());
    const ModelConfig config = golden::Config(golden);
    const AdapterSpec adapter = testing::Adapter(config, method.lora, method.rank, method.alpha);
    const auto frozen = ResolveFreeze(config, method.freeze);
    EXPECT_TRUE(frozen.ok()) << frozen.status();
    parameters =
        *ParameterSet::Create(config, precision, TestDevice(), *frozen,
                              method.lora.empty() ? nullptr : &adapter, method.quantization);
    const absl::Status loaded = parameters->Load(**HfFolder::Open(folder.path()));
    EXPECT_TRUE(loaded.ok()) << loaded;
    if (!method.lora.empty())
      testing::SetAdapter(*parameters, golden::File("training/methods")["scales"]);
    decoder = std::make_unique<Decoder>(config, *parameters, method.options);
  }
  Microbatch Batch(const std::vector<size_t>& documents) const {
    Microbatch batch = golden::Pack(golden, documents);
    for (size_t i = 0; has_weights && i < documents.size(); ++i) {
      for (int32_t t = batch.cu_seqlens[i]; t < batch.cu_seqlens[i + 1]; ++t)
        batch.weights.push_back(0.5f + static_cast<float>((documents[i] + batch.positions[t]) % 4));
    }
    return batch;
  }
  // Adds to the gradients; returns the share of the mean loss.
  double Backward(const Microbatch& batch) {
    const double targets = golden["targets"];
    return decoder->ForwardBackward(ToDevice(batch, TestDevice()), 1.0 / targets).item<double>() /
           targets;
  }
  // Mean loss; its gradients are in the parameters. One microbatch per entry.
  double Backward(const Microbatches& microbatches) {
    parameters->ZeroGrad();
    double sum = 0.0;
    for (const std::vector<size_t>& documents : microbatches) sum += Backward(Batch(documents));
    return sum;
  }
  at::Tensor Gradient() const { return parameters->flat_grad().clone(); }

  TempDir folder;
  const nlohmann::json golden;
  const bool has_weights;
  std::unique_ptr<ParameterSet> parameters;
  std::unique_ptr<Decoder> decoder;
};

struct GoldenCase {
  std::string name;
  Precision precision;
  bool packed;
};

std::vector<GoldenCase> GoldenCases() {
  std::vector<GoldenCase> cases;
  const nlohmann::json file = golden::File("training/methods");
  for (const auto& [name, c] : file["cases"].items()) {
    for (const Precision precision : {Precision::kFp32, Precision::kBf16, Precision::kBf16Sr}) {
      if (precision == Precision::kBf16Sr && c.contains("lora")) continue;
      for (const bool packed : {true, false}) cases.push_back({name, precision, packed});
    }
  }
  return cases;
}

v1::OptimizerConfig OptimizerOf(const nlohmann::json& file, const nlohmann::json& c) {
  using Config = v1::OptimizerConfig;
  if (c.contains("sgd")) {
    Config config = testing::DefaultConfig(Config::TYPE_SGD);
    config.set_momentum(c["sgd"]["momentum"]);
    config.set_nesterov(c["sgd"]["nesterov"]);
    config.set_weight_decay(file["weight_decay"]);
    return config;
  }
  if (!c.contains("muon")) {
    Config config = testing::AdamWConfig();
    config.set_betas(0, file["beta1"]);
    config.set_betas(1, file["beta2"]);
    config.set_weight_decay(file["weight_decay"]);
    return config;
  }
  Config config = testing::DefaultConfig(Config::TYPE_MUON);
  config.set_weight_decay(file["weight_decay"]);
  config.set_newton_schulz_precision(Config::NEWTON_SCHULZ_PRECISION_FP32);
  config.set_adjust_learning_rate(c["muon"] == "original"
                                      ? Config::ADJUST_LEARNING_RATE_ORIGINAL
                                      : Config::ADJUST_LEARNING_RATE_MATCH_RMS_ADAMW);
  return config;
}

class MethodGoldenTest : public ::testing::TestWithParam<GoldenCase> {
 protected:
  // For matrices this small, a second thread costs more than it saves.
  void SetUp() override { at::set_num_threads(1); }
};

// bf16 rounds every activation to 8 bits (2^-9 relative each), bf16_sr also the weights, which
// moves single gradient norms by more than a tenth; the reference rounds none.
TEST_P(MethodGoldenTest, FortyStepsEqualTheReference) {
  const nlohmann::json file = golden::File("training/methods");
  const nlohmann::json& c = file["cases"][GetParam().name];
  Method method{.name = GetParam().name.c_str(),
                .freeze = c["freeze"].get<std::vector<std::string>>()};
  const std::string model_name = c["model"];
  method.model = model_name.c_str();
  if (c.contains("lora")) {
    method.lora = c["lora"]["target_modules"].get<std::vector<std::string>>();
    method.rank = c["lora"]["r"];
    method.alpha = c["lora"]["lora_alpha"];
  }
  Precision precision = GetParam().precision;
  if (precision == Precision::kBf16Sr && !GetParam().packed)
    precision = Precision::kBf16SrAccumulating;
  Model model(method, precision);
  const auto optimizer = testing::Build(OptimizerOf(file, c), *model.parameters);
  const double rate = c["learning_rate"];
  const bool is_fp32 = precision == Precision::kFp32;
  const double norm_tolerance = is_fp32 ? 1e-4 : IsPureBf16(precision) ? 0.15 : 0.1;
  ASSERT_EQ(c["losses"].size(), 40u);
  for (size_t step = 0; step < c["losses"].size(); ++step) {
    const double loss = c["losses"][step], norm = c["grad_norms"][step];
    EXPECT_NEAR(model.Backward(GetParam().packed ? kPacked : kNotPacked), loss,
                loss * (is_fp32 ? 1e-4 : 2e-2))
        << "step " << step;
    const double ours = GlobalNorm(model.parameters->flat_grad()).item<double>();
    EXPECT_NEAR(ours, norm, norm * norm_tolerance) << "step " << step;
    const double clip = std::min(1.0, file["max_grad_norm"].get<double>() / (ours + 1e-6));
    model.parameters->set_rounding_key(step);
    optimizer->Step({rate, rate}, clip, static_cast<int64_t>(step) + 1);
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, MethodGoldenTest, ::testing::ValuesIn(GoldenCases()),
                         [](const auto& info) {
                           return absl::StrCat(info.param.name, "_",
                                               PrecisionName(info.param.precision),
                                               info.param.packed ? "_packed" : "_not_packed");
                         });

constexpr TokenWeighting kCut{.normalize = false, .min_weight = 0.5, .max_weight = 4.0};

const std::vector<Method>& Methods() {
  static const auto& methods = *new std::vector<Method>{
      {.name = "full"},
      {.name = "full_bias", .model = "qwen2"},
      {.name = "full_window", .model = "mistral_sliding"},
      {.name = "full_tied", .model = "llama_tied"},
      {.name = "frozen", .freeze = {"model.embed_tokens.*", "*.k_proj.*"}},
      {.name = "lora", .lora = kLinear},
      {.name = "qlora", .lora = kLinear, .quantization = Quantization::kNf4},
      {.name = "checkpointing",
       .options = {.activation_checkpointing = ActivationCheckpointing::kFull}},
      {.name = "smoothing", .options = {.label_smoothing = 0.1}},
      {.name = "weighting", .options = {.token_weighting = kCut}},
      {.name = "weights", .has_weights = true},
      {.name = "weights_smoothing_weighting",
       .options = {.label_smoothing = 0.1, .token_weighting = kCut},
       .has_weights = true}};
  return methods;
}

struct MethodCase {
  Method method;
  Precision precision;
};

std::vector<MethodCase> MethodCases() {
  std::vector<MethodCase> cases;
  for (const Method& method : Methods()) {
    cases.push_back({method, Precision::kFp32});
    cases.push_back({method, Precision::kBf16});
    if (method.lora.empty()) cases.push_back({method, Precision::kBf16Sr});
  }
  return cases;
}

class MethodTest : public ::testing::TestWithParam<MethodCase> {
 protected:
  void SetUp() override { at::set_num_threads(1); }
  // Rounding alone, relative to the whole: bf16 sums products that are rounded to 8 bits.
  void ExpectSame(double loss, double expected_loss, const at::Tensor& gradient,
                  const at::Tensor& expected) const {
    const bool is_fp32 = GetParam().precision == Precision::kFp32;
    EXPECT_NEAR(loss, expected_loss, expected_loss * (is_fp32 ? 1e-6 : 1e-3));
    EXPECT_LE(Norm(gradient.to(at::kDouble) - expected.to(at::kDouble)),
              Norm(expected) * (is_fp32 ? 1e-6 : 1e-2));
  }

  Model model_{GetParam().method, GetParam().precision};
};

TEST_P(MethodTest, StepInSeveralMicrobatchesIsTheSame) {
  const double loss = model_.Backward(kPacked);
  const at::Tensor gradient = model_.Gradient();
  for (const Microbatches& split :
       {kNotPacked, Microbatches{{0}, {1, 2}}, Microbatches{{2, 1}, {0}}}) {
    const double other = model_.Backward(split);
    ExpectSame(other, loss, model_.Gradient(), gradient);
  }
}

TEST_P(MethodTest, OrderOfDocumentsChangesNothing) {
  const double loss = model_.Backward(kPacked);
  const at::Tensor gradient = model_.Gradient();
  for (const Microbatches& order : {Microbatches{{2, 0, 1}}, Microbatches{{1, 2, 0}}}) {
    const double other = model_.Backward(order);
    ExpectSame(other, loss, model_.Gradient(), gradient);
  }
}

// The documents around the changed one alone carry loss.
TEST_P(MethodTest, ChangedDocumentLeavesTheOthersBitForBit) {
  Microbatch batch = model_.Batch({0, 1, 2});
  const auto begin = static_cast<size_t>(batch.cu_seqlens[1]),
             end = static_cast<size_t>(batch.cu_seqlens[2]);
  for (size_t t = begin; t < end; ++t) {
    batch.target_tokens -= batch.targets[t] != kIgnoreIndex;
    batch.targets[t] = kIgnoreIndex;
  }
  model_.parameters->ZeroGrad();
  const double loss = model_.Backward(batch);
  const at::Tensor gradient = model_.Gradient();
  for (size_t t = begin; t < end; ++t) batch.ids[t] = (batch.ids[t] + 7) % 97;
  model_.parameters->ZeroGrad();
  EXPECT_EQ(model_.Backward(batch), loss);
  EXPECT_TRUE(model_.Gradient().equal(gradient));
}

TEST_P(MethodTest, SecondThreadChangesRoundingAlone) {
  const double loss = model_.Backward(kPacked);
  const at::Tensor gradient = model_.Gradient();
  at::set_num_threads(2);
  const double other = model_.Backward(kPacked);
  EXPECT_NEAR(other, loss, 1e-6 * loss);
  ExpectSame(other, loss, model_.Gradient(), gradient);
}

INSTANTIATE_TEST_SUITE_P(Methods, MethodTest, ::testing::ValuesIn(MethodCases()),
                         [](const auto& info) {
                           return absl::StrCat(info.param.method.name, "_",
                                               PrecisionName(info.param.precision));
                         });

}  // namespace
}  // namespace trainerd::engine
