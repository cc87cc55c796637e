// SPDX-License-Identifier: Apache-2.0
// Training an adapter over a model in NF4 against transformers 5.23.0 with bitsandbytes 0.50.2
// (Linear4bit on the CPU) and peft 0.21.2 (tests/golden/adapter/qlora.json, make_qlora_goldens.py);
// what is quantized; memory; resume; merged weights.
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/randn.h>
#include <c10/core/CPUAllocator.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/model/generate.h"
#include "engine/model/model_writer.h"
#include "engine/ops/layers/linear.h"
#include "engine/optim/global_norm.h"
#include "tests/engine/model/lora_model.h"
#include "tests/engine/optim/optimizers.h"

namespace trainerd::engine {
namespace {

using testing::AdaptedModel;
using testing::Adapter;
using testing::kLinear;
using testing::kNotPacked;
using testing::kPacked;
using testing::TestDevice;

const nlohmann::json& File() {
  static const nlohmann::json file = golden::File("adapter/qlora");
  return file;
}

// A model of the golden with its documents.
nlohmann::json Model(const std::string& name) {
  return {{"config", File()["models"][name]},
          {"documents", File()["documents"]},
          {"targets", File()["targets"]}};
}

// The model of a case in NF4, with the adapter of the golden.
struct QuantizedModel : AdaptedModel {
  QuantizedModel(const nlohmann::json& c, Precision precision)
      : AdaptedModel(Model(c["model"]), AdapterOf(c), precision, Quantization::kNf4) {
    SetAdapter(File()["scales"]);
  }
  static AdapterSpec AdapterOf(const nlohmann::json& c) {
    return Adapter(golden::Config(Model(c["model"])),
                   c["target_modules"].get<std::vector<std::string>>(), c["r"], c["lora_alpha"]);
  }
};

std::unique_ptr<Optimizer> MakeOptimizer(ParameterSet& parameters) {
  v1::OptimizerConfig config = testing::AdamWConfig();
  config.set_betas(0, File()["betas"][0]);
  config.set_betas(1, File()["betas"][1]);
  config.set_weight_decay(File()["weight_decay"]);
  return testing::Build(config, parameters);
}

struct StepResult {
  double loss, norm;
};
StepResult Step(AdaptedModel& model, Optimizer& optimizer, int64_t step,
                const std::vector<std::vector<size_t>>& microbatches) {
  const double loss = model.Backward(microbatches);
  const double norm = GlobalNorm(model.parameters->flat_grad()).item<double>();
  const double clip = std::min(1.0, File()["max_grad_norm"].get<double>() / (norm + 1e-6));
  const double rate = File()["learning_rate"];
  optimizer.Step({rate}, clip, step);
  return {loss, norm};
}

double Norm(const at::Tensor& x) {
  return std::sqrt(x.to(at::kDouble).square().sum().item<double>());
}

class QloraTest : public ::testing::TestWithParam<testing::AdapterCase> {};

// bf16 rounds every activation to 8 bits (2^-9 relative each), and peft computes the adapter's
// terms in fp32 there, this engine in bf16: losses differ by up to 1 %, gradient norms by up to
// 7 %, by the kernels of the processor.
TEST_P(QloraTest, TrainsAsTransformersWithBitsandbytesAndPeft) {
  at::set_num_threads(1);
  const bool is_fp32 = GetParam().precision == Precision::kFp32;
  const nlohmann::json& c = File()["cases"][GetParam().name];
  const nlohmann::json& expected = c[is_fp32 ? "fp32" : "bf16"];
  QuantizedModel model(c, GetParam().precision);
  const std::unique_ptr<Optimizer> optimizer = MakeOptimizer(*model.parameters);
  const at::Tensor before = model.parameters->flat_master().clone();
  for (size_t i = 0; i < expected["losses"].size(); ++i) {
    const StepResult result = Step(model, *optimizer, static_cast<int64_t>(i) + 1,
                                   GetParam().packed ? kPacked : kNotPacked);
    const double loss = expected["losses"][i], norm = expected["grad_norms"][i];
    EXPECT_NEAR(result.loss, loss, loss * (is_fp32 ? 1e-4 : 1e-2)) << "step " << i;
    EXPECT_NEAR(result.norm, norm, norm * (is_fp32 ? 1e-4 : 1e-1)) << "step " << i;
  }
  for (const Parameter& parameter : model.parameters->parameters()) {
    if (!parameter.trains()) continue;
    const double change = expected["change"][parameter.name];
    const at::Tensor start =
        before.narrow(0, parameter.offset, parameter.value.numel()).view_as(parameter.master);
    EXPECT_NEAR(Norm(parameter.master - start), change, change * (is_fp32 ? 1e-3 : 5e-2))
        << parameter.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, QloraTest, ::testing::ValuesIn(testing::AdapterCases(File())),
                         testing::CaseName);

TEST(QloraParametersTest, QuantizesTheMatricesOfTheBlocksAlone) {
  const QuantizedModel model(File()["cases"]["query_value"], Precision::kBf16);
  int64_t quantized = 0;
  for (const Parameter& parameter : model.parameters->parameters()) {
    const bool is_matrix_of_block = parameter.layer >= 0 && !parameter.trains() &&
                                    absl::EndsWith(parameter.name, "_proj.weight");
    EXPECT_EQ(parameter.nf4.has_value(), is_matrix_of_block) << parameter.name;
    EXPECT_EQ(parameter.value.is_meta(), is_matrix_of_block) << parameter.name;
    quantized += is_matrix_of_block;
  }
  EXPECT_EQ(quantized, 2 * 7);
  EXPECT_LT(model.parameters->frozen_bytes(), model.parameters->frozen_bytes_unquantized());
}

// Each member of a joint matrix as if it were alone.
TEST(QloraParametersTest, EqualsTheMatrixQuantizedByItself) {
  const QuantizedModel model(File()["cases"]["all_linear"], Precision::kFp32);
  for (const Parameter& parameter : model.parameters->parameters()) {
    if (!parameter.nf4.has_value()) continue;
    std::vector<float> values = golden::Weights(parameter.name, parameter.value.numel());
    const at::Tensor source = at::from_blob(values.data(), parameter.value.sizes(), at::kFloat);
    const Nf4Matrix alone = Nf4Matrix::Zeros(source.size(0), source.size(1), at::kCPU);
    QuantizeNf4(source, alone);
    EXPECT_TRUE(at::equal(parameter.nf4->codes.cpu(), alone.codes)) << parameter.name;
    const at::Tensor dense = at::empty(source.sizes(), at::kFloat);
    DequantizeNf4(alone, dense);
    EXPECT_TRUE(at::equal(parameter.stored().cpu(), dense)) << parameter.name;
  }
}

// y, dx: the products with the dequantized matrix, to the bit.
TEST(QloraLinearTest, ComputesWithTheDequantizedMatrix) {
  for (const Precision precision : {Precision::kFp32, Precision::kBf16}) {
    const QuantizedModel model(File()["cases"]["query_value"], precision);
    const auto linear = [&](WeightRole first, WeightRole last, WeightRole bias,
                            WeightRole last_bias) {
      return model.parameters->Linear({first, last}, {bias, last_bias}, 1);
    };
    const LinearWeights quantized[] = {
        linear(WeightRole::kQuery, WeightRole::kValue, WeightRole::kQueryBias,
               WeightRole::kValueBias),
        linear(WeightRole::kGate, WeightRole::kUp, WeightRole::kGateBias, WeightRole::kUpBias),
        linear(WeightRole::kDown, WeightRole::kDown, WeightRole::kDownBias, WeightRole::kDownBias)};
    for (LinearWeights weights : quantized) {
      weights.low_rank = {};
      LinearWeights dense = weights;
      dense.nf4.clear();
      std::vector<at::Tensor> members;
      for (const Nf4Matrix& member : weights.nf4) {
        members.push_back(at::empty({member.rows, member.columns},
                                    at::TensorOptions(TestDevice()).dtype(weights.weight.dtype())));
        DequantizeNf4(member, members.back());
      }
      dense.weight = at::cat(members, 0);
      ASSERT_EQ(dense.weight.sizes(), weights.weight.sizes());
      const auto run = [&](const LinearWeights& w) {
        at::manual_seed(1);
        at::Tensor x = at::randn({37, w.weight.size(1)}).to(dense.weight.options());
        x.requires_grad_(true);
        const at::Tensor y = Linear(x, w);
        y.backward(at::randn(y.sizes()).to(y.options()));
        return std::pair{y.detach(), x.grad()};
      };
      const auto expected = run(dense), actual = run(weights);
      EXPECT_TRUE(at::equal(actual.first, expected.first));
      EXPECT_TRUE(at::equal(actual.second, expected.second));
    }
  }
}

TEST(QloraDecoderTest, ThreadsChangeResultsByRoundingOnly) {
  const auto run = [](int threads) {
    at::set_num_threads(threads);
    QuantizedModel model(File()["cases"]["all_linear"], Precision::kFp32);
    const double loss = model.Backward(kPacked);
    return std::pair{loss, model.parameters->flat_grad().clone()};
  };
  const auto one = run(1), two = run(2);
  EXPECT_NEAR(two.first, one.first, 1e-6 * one.first);
  EXPECT_LE(Norm(two.second - one.second), 1e-6 * Norm(one.second));
}

// The base is read and quantized again, as a resumed job does.
TEST(QloraDecoderTest, ResumesToTheBit) {
  at::set_num_threads(1);
  for (const Precision precision : {Precision::kFp32, Precision::kBf16}) {
    const nlohmann::json& c = File()["cases"]["all_linear"];
    QuantizedModel straight(c, precision), resumed(c, precision);
    const std::unique_ptr<Optimizer> optimizer = MakeOptimizer(*straight.parameters),
                                     later = MakeOptimizer(*resumed.parameters);
    for (int64_t step = 1; step <= 6; ++step) {
      Step(straight, *optimizer, step, kNotPacked);
      if (step != 3) continue;
      resumed.parameters->flat_master().copy_(straight.parameters->flat_master());
      resumed.parameters->PublishCompute();
      const auto from = optimizer->State(), to = later->State();
      for (size_t i = 0; i < from.size(); ++i) {
        for (size_t j = 0; j < from[i].tensors.size(); ++j) {
          if (from[i].tensors[j].defined()) to[i].tensors[j].copy_(from[i].tensors[j]);
        }
      }
    }
    for (int64_t step = 4; step <= 6; ++step) Step(resumed, *later, step, kNotPacked);
    EXPECT_TRUE(at::equal(resumed.parameters->flat_master(), straight.parameters->flat_master()));
  }
}

TEST(QloraDecoderTest, GeneratesWithTheQuantizedMatrices) {
  QuantizedModel model(File()["cases"]["all_linear"], Precision::kFp32);
  std::vector<int32_t> ids = {5, 17, 42, 8};
  const auto generated = *GenerateGreedy(*model.decoder, ids, {.max_tokens = 6});
  for (const int32_t id : generated) {
    Microbatch batch;
    batch.ids = ids;
    for (size_t t = 0; t < ids.size(); ++t) batch.positions.push_back(static_cast<int32_t>(t));
    batch.targets.assign(ids.size(), kIgnoreIndex);
    batch.cu_seqlens = {0, static_cast<int32_t>(ids.size())};
    const at::Tensor logits = model.decoder->Logits(ToDevice(batch, TestDevice()));
    EXPECT_EQ(logits[logits.size(0) - 1].argmax().item<int64_t>(), id);
    ids.push_back(id);
  }
}

// Counts the CPU tensors' memory.
class CountingAllocator final : public c10::Allocator {
 public:
  explicit CountingAllocator(c10::Allocator& inner) : inner_(inner) {}
  c10::DataPtr allocate(size_t bytes) override {
    struct Block {
      c10::DataPtr data;
      CountingAllocator* owner;
      size_t bytes;
    };
    in_use_ += static_cast<int64_t>(bytes);
    peak_ = std::max(peak_, in_use_);
    auto block = std::make_unique<Block>(Block{inner_.allocate(bytes), this, bytes});
    void* data = block->data.get();
    return {data, block.release(),
            [](void* context) {
              const std::unique_ptr<Block> freed(static_cast<Block*>(context));
              freed->owner->in_use_ -= static_cast<int64_t>(freed->bytes);
            },
            at::kCPU};
  }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }
  int64_t in_use() const { return in_use_; }
  // Largest use since the last call.
  int64_t TakePeak() { return std::exchange(peak_, in_use_); }

 private:
  c10::Allocator& inner_;
  int64_t in_use_ = 0, peak_ = 0;
};

// Loading allocates the quantized model first, then at most one tensor besides it.
TEST(QloraMemoryTest, LoadingNeedsAtMostOneTensorBesidesTheModel) {
  if (testing::TestDeviceIsCuda()) GTEST_SKIP() << "counts CPU tensors";
  const nlohmann::json golden = Model("llama");
  TempDir folder;
  golden::WriteFolder(golden, folder.path());
  const ModelConfig config = golden::Config(golden);
  const AdapterSpec adapter = Adapter(config, kLinear, 2, 2.0);
  CountingAllocator counting(*c10::GetCPUAllocator());
  c10::Allocator* const before = c10::GetCPUAllocator();
  c10::SetCPUAllocator(&counting, /*priority=*/100);
  {
    const auto parameters =
        *ParameterSet::Create(config, Precision::kBf16, at::kCPU, {}, &adapter, Quantization::kNf4);
    int64_t quantized = 0, dense = 0, largest_quantized = 0;
    for (const Parameter& parameter : parameters->parameters()) {
      if (parameter.trains()) continue;
      const int64_t count = parameter.value.numel();
      if (!parameter.nf4.has_value()) {
        dense += count;
        continue;
      }
      quantized += Nf4Matrix::BytesFor(parameter.nf4->rows, parameter.nf4->columns);
      largest_quantized = std::max(largest_quantized, count);
    }
    const int64_t model_bytes = counting.in_use();
    const int64_t training = parameters->flat_master().numel();
    // bf16: 4 + 4 + 2 bytes per element that trains. Padding: 64 bytes per tensor.
    EXPECT_GE(model_bytes, quantized + 2 * dense + 10 * training);
    EXPECT_LE(model_bytes, quantized + 2 * dense + 10 * training + 64 * 100);
    counting.TakePeak();
    ASSERT_TRUE(parameters->Load(**HfFolder::Open(folder.path())).ok());
    // What remains are the bytes of the tensors that bf16 does not represent.
    EXPECT_LE(counting.in_use(), model_bytes + 4 * dense);
    EXPECT_LE(counting.TakePeak(), counting.in_use() + 2 * largest_quantized);
    EXPECT_EQ(parameters->frozen_bytes(), counting.in_use() - 10 * training);
  }
  c10::SetCPUAllocator(before, /*priority=*/100);
}

// Rows of the written matrices: peft's merge of Linear4bit, for matrices without an adapter what
// bitsandbytes dequantizes.
TEST(QloraWriterTest, MergesIntoTheDequantizedMatrix) {
  for (const auto& [name, c] : File()["cases"].items()) {
    const QuantizedModel model(c, Precision::kFp32);
    TempDir folder;
    ASSERT_TRUE(WriteModelWeights(folder.path(), *model.parameters).ok());
    golden::WriteFile(folder.path() + "/config.json", model.golden["config"].dump());
    const auto written = *HfFolder::Open(folder.path());
    const auto merged =
        *ParameterSet::Create(golden::Config(model.golden), Precision::kFp32, TestDevice());
    ASSERT_TRUE(merged->Load(*written).ok());
    for (const auto& [tensor, sums] : c["merged"].items()) {
      const at::Tensor matrix = merged->Find(tensor)->value.to(at::kDouble);
      const auto expected = sums.get<std::vector<double>>();
      ASSERT_EQ(matrix.size(0), static_cast<int64_t>(expected.size()));
      for (size_t row = 0; row < expected.size(); ++row) {
        EXPECT_NEAR(matrix[static_cast<int64_t>(row)].square().sum().item<double>(), expected[row],
                    1e-5 * expected[row])
            << name << " " << tensor;
      }
    }
  }
}

}  // namespace
}  // namespace trainerd::engine
