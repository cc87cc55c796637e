// SPDX-License-Identifier: Apache-2.0
// Activation checkpointing: the same bits as without it, for every golden model, and the memory
// that it saves, counted in bytes of living tensors.
#include "engine/model/activation_memory.h"

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/equal.h>
#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>

#include "engine/ops/op_table.h"
#include "engine/optim/global_norm.h"
#include "tests/engine/model/golden_model.h"
#include "tests/engine/optim/optimizers.h"

namespace trainerd::engine {
namespace {

using testing::TestDevice;
using Microbatches = std::vector<std::vector<size_t>>;

constexpr ActivationCheckpointing kModes[] = {ActivationCheckpointing::kNone,
                                              ActivationCheckpointing::kSelective,
                                              ActivationCheckpointing::kFull};

// Losses, gradients and norms of each step, and the weights after the last one.
std::vector<at::Tensor> Train(const nlohmann::json& golden, Precision precision,
                              const std::vector<std::string>& patterns,
                              const Microbatches& microbatches, ActivationCheckpointing mode) {
  constexpr int kSteps = 3;
  const TempDir folder;
  golden::WriteFolder(golden, folder.path());
  const ModelConfig config = golden::Config(golden);
  const auto frozen = ResolveFreeze(config, patterns);
  EXPECT_TRUE(frozen.ok()) << frozen.status();
  auto parameters = *ParameterSet::Create(config, precision, TestDevice(), *frozen);
  EXPECT_TRUE(parameters->Load(**HfFolder::Open(folder.path(), config.names)).ok());
  Decoder decoder(config, *parameters, {.activation_checkpointing = mode});
  const std::unique_ptr<Optimizer> optimizer = testing::Build(testing::AdamWConfig(), *parameters);
  std::vector<at::Tensor> results;
  for (int step = 1; step <= kSteps; ++step) {
    parameters->ZeroGrad();
    for (const std::vector<size_t>& documents : microbatches) {
      const DeviceBatch batch = ToDevice(golden::Pack(golden, documents), TestDevice());
      results.push_back(decoder.ForwardBackward(batch, 1.0 / golden["targets"].get<double>()));
    }
    results.push_back(parameters->flat_grad().clone());
    results.push_back(GlobalNorm(parameters->flat_grad()));
    optimizer->Step({1e-2}, 1.0, step);
  }
  results.push_back(parameters->flat_master().clone());
  results.push_back(parameters->flat_value().clone());
  return results;
}

class SameBitsTest : public ::testing::TestWithParam<std::tuple<std::string, Precision>> {
 protected:
  // For matrices this small, a second thread costs more than it saves; one model proves both.
  void SetUp() override { at::set_num_threads(std::get<0>(GetParam()) == "qwen3" ? 2 : 1); }
};

TEST_P(SameBitsTest, RecomputingChangesNoBit) {
  const nlohmann::json golden = golden::Read(std::get<0>(GetParam()));
  const Precision precision = std::get<1>(GetParam());
  const Microbatches packed = {{0, 1, 2}}, alone = {{0}, {1}, {2}};
  const std::vector<std::pair<Microbatches, std::vector<std::string>>> cases = {
      {packed, {}},
      {alone, {}},
      {packed, {"model.embed_tokens.*"}},
      {alone, {"model.embed_tokens.*", "model.layers.0.*"}},
      {packed, {"model.embed_tokens.*", "model.layers.0.self_attn*", "*norm*"}},
      {packed, {"*.mlp.*"}},
      {alone, {"*.self_attn.*"}},
      {packed, {"*.down_proj.*", "*.1.*.q*_proj.*"}},
      {packed, {"*.gate*_proj.*", "*norm*"}}};
  for (const auto& [microbatches, patterns] : cases) {
    const std::vector<at::Tensor> expected =
        Train(golden, precision, patterns, microbatches, ActivationCheckpointing::kNone);
    for (const ActivationCheckpointing mode : {kModes[1], kModes[2]}) {
      SCOPED_TRACE(::testing::Message()
                   << "mode " << static_cast<int>(mode) << ", " << microbatches.size()
                   << " microbatches, " << (patterns.empty() ? "all train" : patterns.back()));
      const std::vector<at::Tensor> actual = Train(golden, precision, patterns, microbatches, mode);
      ASSERT_EQ(actual.size(), expected.size());
      for (size_t i = 0; i < actual.size(); ++i)
        EXPECT_TRUE(at::equal(actual[i], expected[i])) << "result " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, SameBitsTest,
                         ::testing::Combine(::testing::ValuesIn(golden::ModelNames()),
                                            ::testing::Values(Precision::kFp32, Precision::kBf16)),
                         [](const auto& info) {
                           return std::get<0>(info.param) +
                                  (std::get<1>(info.param) == Precision::kFp32 ? "_fp32" : "_bf16");
                         });

// Counts the bytes of living CPU tensors. A block begins with its size.
class CountingAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    void* block = nullptr;
    EXPECT_EQ(::posix_memalign(&block, kAlignment, bytes + kAlignment), 0);
    *static_cast<size_t*>(block) = bytes;
    living += static_cast<int64_t>(bytes);
    peak = std::max<int64_t>(peak, living);
    void* data = static_cast<char*>(block) + kAlignment;
    return {data, data, &Free, c10::Device(c10::DeviceType::CPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &Free; }
  void copy_data(void* destination, const void* source, size_t count) const override {
    default_copy_data(destination, source, count);
  }

  static inline std::atomic<int64_t> living = 0, peak = 0;

 private:
  static constexpr size_t kAlignment = 64;
  static void Free(void* data) {
    void* block = static_cast<char*>(data) - kAlignment;
    living -= static_cast<int64_t>(*static_cast<size_t*>(block));
    std::free(block);
  }
};

int64_t living_at_head = 0;

const OpTable& ObservingOps() {
  static OpTable table = CpuOps();
  table.cross_entropy = [](const at::Tensor& logits, const at::Tensor& targets,
                           const at::Tensor& weights, const CrossEntropyOptions& options) {
    living_at_head = CountingAllocator::living;
    return CpuOps().cross_entropy(logits, targets, weights, options);
  };
  return table;
}

struct Memory {
  int64_t kept = 0;  // between forward and backward, with the head's buffers
  int64_t peak = 0;
};

constexpr int64_t kTokens = 512;

// Of one microbatch in which every token is a target.
Memory Measure(const ModelConfig& config, Precision precision, ActivationCheckpointing mode) {
  auto parameters = *ParameterSet::Create(config, precision, at::kCPU);
  EXPECT_TRUE(parameters->InitRandom(1).ok());
  Decoder decoder(config, *parameters, {.activation_checkpointing = mode});
  Microbatch batch;
  for (int32_t t = 0; t < kTokens; ++t) {
    batch.ids.push_back(t % 97), batch.targets.push_back((7 * t) % 97);
    batch.positions.push_back(t % 128);
    if (t % 128 == 127) batch.cu_seqlens.push_back(t + 1);
  }
  batch.target_tokens = kTokens;
  const DeviceBatch on_device = ToDevice(batch, at::kCPU);
  const int64_t before = CountingAllocator::living;
  CountingAllocator::peak = before;
  decoder.ForwardBackward(on_device, 1.0 / kTokens);
  EXPECT_EQ(CountingAllocator::living, before) << "tensors of the microbatch are left";
  return {.kept = living_at_head - before, .peak = CountingAllocator::peak - before};
}

class MemoryTest : public ::testing::TestWithParam<std::tuple<std::string, Precision>> {
 protected:
  void SetUp() override {
    if (testing::TestDeviceIsCuda()) GTEST_SKIP() << "counts the tensors of the CPU";
    RegisterOps(at::kCPU, ObservingOps());
  }
  void TearDown() override { RegisterOps(at::kCPU, CpuOps()); }
  static void SetUpTestSuite() { c10::SetCPUAllocator(new CountingAllocator, /*priority=*/101); }
};

TEST_P(MemoryTest, KeepsWhatKeptBytesPerTokenSays) {
  const Precision precision = std::get<1>(GetParam());
  ModelConfig config = golden::Config(golden::Read(std::get<0>(GetParam())));
  config.num_layers = 8, config.hidden_size = 64, config.intermediate_size = 160;
  config.block.layers.assign(8, config.block.layers[0]);
  Memory memory[3];
  for (size_t i = 0; i < 3; ++i) memory[i] = Measure(config, precision, kModes[i]);
  for (size_t i = 1; i < 3; ++i) {
    const int64_t expected = kTokens * (KeptBytesPerToken(config, precision, kModes[0]) -
                                        KeptBytesPerToken(config, precision, kModes[i]));
    EXPECT_NEAR(static_cast<double>(memory[0].kept - memory[i].kept), static_cast<double>(expected),
                0.06 * static_cast<double>(expected))
        << "mode " << i;
  }
  EXPECT_LT(memory[1].peak, 0.8 * static_cast<double>(memory[0].peak));
  EXPECT_LT(memory[2].peak, 0.8 * static_cast<double>(memory[1].peak));
}

INSTANTIATE_TEST_SUITE_P(Models, MemoryTest,
                         ::testing::Combine(::testing::Values("llama_tied", "qwen3", "olmo2",
                                                              "mistral_sliding", "smollm3", "qwen2",
                                                              "qwen3_moe"),
                                            ::testing::Values(Precision::kFp32, Precision::kBf16)),
                         [](const auto& info) {
                           return std::get<0>(info.param) +
                                  (std::get<1>(info.param) == Precision::kFp32 ? "_fp32" : "_bf16");
                         });

}  // namespace
}  // namespace trainerd::engine
