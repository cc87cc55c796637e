// SPDX-License-Identifier: Apache-2.0
// The decoder against transformers 5.23.0 with torch 2.11.0 (eager attention, fp32, one document at
// a time): tests/golden/model/make_goldens.py.
#include "engine/model/decoder.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>

#include <cmath>

#include "engine/model/generate.h"
#include "engine/ops/op_table.h"
#include "tests/engine/model/golden_model.h"

namespace trainerd::engine {
namespace {

using testing::TestDevice;

double Norm(const at::Tensor& x) {
  return std::sqrt(x.to(at::kDouble).square().sum().item<double>());
}

struct Case {
  std::string model;
  Precision precision;
  const char* table;
};

class DecoderTest : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    RegisterOps(at::kCPU, std::string(GetParam().table) == "reference" ? ReferenceOps() : CpuOps());
    golden_ = golden::Read(GetParam().model);
    ASSERT_TRUE(golden_.is_object());
    parameters_ = golden::Load(golden_, GetParam().precision, dir_.path());
    decoder_ = std::make_unique<Decoder>(golden::Config(golden_), *parameters_);
  }
  void TearDown() override { RegisterOps(at::kCPU, CpuOps()); }

  bool fp32() const { return GetParam().precision == Precision::kFp32; }
  DeviceBatch Batch(const std::vector<size_t>& which) const {
    return ToDevice(golden::Pack(golden_, which), TestDevice());
  }

  TempDir dir_;
  nlohmann::json golden_;
  std::unique_ptr<ParameterSet> parameters_;
  std::unique_ptr<Decoder> decoder_;
};

TEST_P(DecoderTest, LogitsOfPackedDocumentsEqualTransformers) {
  const at::Tensor logits = decoder_->Logits(Batch({0, 1, 2}));
  int64_t row = -1;
  for (const auto& document : golden_["logits"]) {
    const auto sums = document["row_sums"].get<std::vector<double>>();
    row += static_cast<int64_t>(sums.size());
    const auto last = document["last"].get<std::vector<double>>();
    double largest = 0.0, difference = 0.0;
    for (size_t v = 0; v < last.size(); ++v) {
      largest = std::max(largest, std::abs(last[v]));
      difference = std::max(
          difference, std::abs(last[v] - logits[row][static_cast<int64_t>(v)].item<double>()));
    }
    EXPECT_LE(difference, largest * (fp32() ? 1e-5 : 5e-2));
    if (!fp32()) continue;
    for (size_t t = 0; t < sums.size(); ++t) {
      const int64_t at = row + 1 - static_cast<int64_t>(sums.size() - t);
      EXPECT_NEAR(logits[at].to(at::kDouble).square().sum().item<double>(), sums[t],
                  1e-4 * sums[t]);
    }
  }
}

TEST_P(DecoderTest, LossAndGradientsEqualTransformers) {
  const double targets = golden_["targets"].get<double>(),
               expected = golden_["loss_sum"].get<double>();
  const DeviceBatch batch = Batch({0, 1, 2});
  const double loss = decoder_->ForwardBackward(batch, 1.0 / targets).item<double>();
  EXPECT_NEAR(loss, expected, expected * (fp32() ? 1e-5 : 1e-2));
  EXPECT_NEAR(decoder_->LossSum(batch).item<double>(), loss, 1e-5 * expected);

  for (const Parameter& parameter : parameters_->parameters()) {
    const auto& gradient = golden_["gradients"][parameter.name];
    const double norm = gradient["norm"].get<double>();
    EXPECT_NEAR(Norm(parameter.grad), norm, norm * (fp32() ? 1e-4 : 5e-2) + 1e-7) << parameter.name;
    const auto first = gradient["first"].get<std::vector<double>>();
    for (size_t i = 0; i < first.size() && fp32(); ++i) {
      EXPECT_NEAR(parameter.grad.flatten()[static_cast<int64_t>(i)].item<double>(), first[i],
                  1e-4 * norm + 1e-7)
          << parameter.name;
    }
  }
  EXPECT_EQ(golden_["gradients"].size(), parameters_->parameters().size());
}

// Losses of plain SGD in torch: forward, backward and publication of the weights, several times.
TEST_P(DecoderTest, TrainingLossesEqualTransformers) {
  const double targets = golden_["targets"].get<double>();
  const double learning_rate = golden_["training"]["learning_rate"].get<double>();
  const DeviceBatch batch = Batch({0, 1, 2});
  for (const double expected : golden_["training"]["losses"]) {
    parameters_->ZeroGrad();
    const double loss = decoder_->ForwardBackward(batch, 1.0 / targets).item<double>() / targets;
    EXPECT_NEAR(loss, expected, (fp32() ? 2e-5 : 2e-2) * expected);
    for (const Parameter& parameter : parameters_->parameters())
      parameter.master.sub_(parameter.grad, learning_rate);
    parameters_->PublishCompute();
  }
}

TEST_P(DecoderTest, AccumulatesOverMicrobatches) {
  if (golden_["config"].value("output_router_logits", false))
    GTEST_SKIP() << "the load-balancing loss is not a sum over microbatches";
  const double scale = 1.0 / golden_["targets"].get<double>();
  decoder_->ForwardBackward(Batch({0, 1, 2}), scale);
  const at::Tensor together = parameters_->flat_grad().clone();
  parameters_->ZeroGrad();
  for (size_t i : {0, 1, 2}) decoder_->ForwardBackward(Batch({i}), scale);
  EXPECT_LE(Norm(parameters_->flat_grad() - together), Norm(together) * (fp32() ? 1e-5 : 2e-2));
}

TEST_P(DecoderTest, RepeatsBitForBit) {
  const DeviceBatch batch = Batch({2, 0});
  const at::Tensor first_loss = decoder_->ForwardBackward(batch, 0.1);
  const at::Tensor first = parameters_->flat_grad().clone();
  parameters_->ZeroGrad();
  const at::Tensor second_loss = decoder_->ForwardBackward(batch, 0.1);
  EXPECT_TRUE(at::equal(first_loss, second_loss));
  EXPECT_TRUE(at::equal(first, parameters_->flat_grad()));
}

TEST_P(DecoderTest, DocumentsDoNotSeeEachOther) {
  Microbatch batch = golden::Pack(golden_, {0, 1, 2});
  const at::Tensor before = decoder_->Logits(ToDevice(batch, TestDevice()));
  const int64_t begin = batch.cu_seqlens[2], length = batch.cu_seqlens[3] - begin;
  for (int64_t t = 0; t < begin; ++t)
    batch.ids[static_cast<size_t>(t)] = (batch.ids[static_cast<size_t>(t)] + 7) % 97;
  const at::Tensor after = decoder_->Logits(ToDevice(batch, TestDevice()));
  const at::Tensor one = before.narrow(0, begin, length), two = after.narrow(0, begin, length);
  // How many rows an expert multiplies depends on all documents, and with it the last bit.
  if (golden::Config(golden_).block.experts.count > 0) {
    EXPECT_LE(Norm(one - two), Norm(one) * (fp32() ? 1e-6 : 1e-2));
  } else {
    EXPECT_TRUE(at::equal(one, two));
  }
  EXPECT_FALSE(at::equal(before.narrow(0, 0, 5), after.narrow(0, 0, 5)));
}

TEST_P(DecoderTest, SequenceWithoutTargetsHasNoLossAndNoGradient) {
  Microbatch batch = golden::Pack(golden_, {1});
  std::fill(batch.targets.begin(), batch.targets.end(), kIgnoreIndex);
  batch.target_tokens = 0;
  EXPECT_EQ(decoder_->ForwardBackward(ToDevice(batch, TestDevice()), 1.0).item<double>(), 0.0);
  EXPECT_EQ(Norm(parameters_->flat_grad()), 0.0);
}

TEST_P(DecoderTest, GeneratesTheTokensOfTheFullForward) {
  const auto prompt = golden_["prompt"].get<std::vector<int32_t>>();
  const auto generated = GenerateGreedy(*decoder_, prompt, {.max_tokens = 12});
  ASSERT_TRUE(generated.ok()) << generated.status();
  ASSERT_EQ(generated->size(), 12u);
  if (fp32()) {
    EXPECT_EQ(*generated, golden_["generated"].get<std::vector<int32_t>>());
  }
  // The same tokens from logits without a cache.
  Microbatch batch;
  batch.ids = prompt;
  for (size_t i = 0; i < generated->size(); ++i) {
    batch.positions.resize(batch.ids.size());
    for (size_t t = 0; t < batch.ids.size(); ++t) batch.positions[t] = static_cast<int32_t>(t);
    batch.targets.assign(batch.ids.size(), kIgnoreIndex);
    batch.cu_seqlens = {0, static_cast<int32_t>(batch.ids.size())};
    const at::Tensor logits =
        decoder_->Logits(ToDevice(batch, TestDevice()))[static_cast<int64_t>(batch.ids.size()) - 1];
    const double best = logits.max().item<double>(),
                 chosen = logits[(*generated)[i]].item<double>();
    EXPECT_GE(chosen, best - (fp32() ? 1e-4 : 0.1) * std::abs(best)) << "token " << i;
    batch.ids.push_back((*generated)[i]);
  }
}

std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (const std::string& model : golden::ModelNames()) {
    for (const char* table : {"reference", "cpu"}) {
      // CUDA has one table, the reference.
      if (testing::TestDeviceIsCuda() && std::string(table) == "cpu") continue;
      cases.push_back({model, Precision::kFp32, table});
      cases.push_back({model, Precision::kBf16, table});
    }
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Models, DecoderTest, ::testing::ValuesIn(Cases()), [](const auto& info) {
  return info.param.model + (info.param.precision == Precision::kFp32 ? "_fp32_" : "_bf16_") +
         info.param.table;
});

}  // namespace
}  // namespace trainerd::engine
