// SPDX-License-Identifier: Apache-2.0
// What the ops launch and reserve on a cuda device at the size of a real model: counted by the fake
// device (tests/fakes/cuda), which computes nothing here.
#include <ATen/Context.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <dlfcn.h>
#include <gtest/gtest.h>

#include "engine/ops/cross_entropy.h"
#include "engine/ops/layers/embedding.h"
#include "engine/ops/op_table.h"
#include "tests/engine/test_device.h"

namespace trainerd::engine {
namespace {

using testing::TestDevice;

template <typename Function>
Function FakeFunction(const char* name) {
  return reinterpret_cast<Function>(::dlsym(RTLD_DEFAULT, name));
}

class LaunchesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    calls_ = FakeFunction<uint64_t (*)(const char*)>("fake_cuda_calls");
    peak_bytes_ = FakeFunction<uint64_t (*)()>("fake_cuda_peak_bytes");
    if (calls_ == nullptr || !testing::TestDeviceIsCuda()) {
      GTEST_SKIP() << "the fake CUDA device is not preloaded (tests/fakes/cuda/README.md)";
    }
    FakeFunction<void (*)()>("fake_cuda_reset")();
  }
  static at::TensorOptions OnDevice(at::ScalarType type) {
    return at::TensorOptions().device(TestDevice()).dtype(type);
  }

  uint64_t (*calls_)(const char*) = nullptr;
  uint64_t (*peak_bytes_)() = nullptr;
};

TEST_F(LaunchesTest, OpensTheDeviceForRepeatableResults) {
  EXPECT_TRUE(at::globalContext().deterministicAlgorithms());
  // LibTorch's flash attention would ignore the setting.
  EXPECT_FALSE(at::globalContext().deterministicAlgorithmsWarnOnly());
}

// LibTorch's own choice for 2 documents of 512 tokens and 16 heads on 132 multiprocessors: in a
// fixed order (132 + 31) / 32 = 5 blocks per document and head, else one per 128 keys, which is 4.
TEST_F(LaunchesTest, FlashAttentionBackwardAddsInAFixedOrder) {
  constexpr int64_t kTokens = 1024;
  const AttentionShape shape{.num_heads = 16, .num_kv_heads = 8, .head_dim = 128, .scale = 0.1};
  Documents documents{.cu_seqlens = at::zeros({3}, OnDevice(at::kInt)),
                      .cu_seqlens_host = {0, 512, 1024},
                      .max_seqlen = 512};
  const auto heads = [](int64_t count) {
    return at::empty({kTokens, count, 128}, OnDevice(at::kBFloat16));
  };
  const at::Tensor q = heads(16), k = heads(8), v = heads(8);
  const OpTable& ops = OpsFor(TestDevice());
  const AttentionResult result = ops.attention_forward(q, k, v, documents, shape);
  ops.attention_backward(heads(16), q, k, v, result, documents, shape, heads(16), heads(8),
                         heads(8));
  EXPECT_EQ(calls_("Flash_bwd_params) grid 5,2,16"), 1u);
}

TEST_F(LaunchesTest, SelectRowsSortsNothing) {
  constexpr int64_t kRows = 4096, kColumns = 1024;
  const WeightAndGrad embedding{at::zeros({kRows, kColumns}, OnDevice(at::kBFloat16)),
                                at::zeros({kRows, kColumns}, OnDevice(at::kFloat))};
  const at::Tensor ids = at::zeros({kRows}, OnDevice(at::kLong)), rows = ids.narrow(0, 0, 3000);
  at::Tensor all = Embedding(ids, embedding);
  all.backward(at::empty({kRows, kColumns}, OnDevice(at::kBFloat16)));
  // An id can occur twice: its gradients are added in a fixed order.
  const uint64_t sorts_of_embedding = calls_("Sort");
  EXPECT_GT(sorts_of_embedding, 0u);
  at::Tensor selected = SelectRows(Embedding(ids, embedding), rows);
  selected.backward(at::empty({3000, kColumns}, OnDevice(at::kBFloat16)));
  EXPECT_EQ(calls_("Sort"), 2 * sorts_of_embedding);
  EXPECT_TRUE(at::globalContext().deterministicAlgorithms());
  EXPECT_FALSE(at::globalContext().deterministicAlgorithmsWarnOnly());
}

// 28,300 target tokens and the vocabulary of Qwen3: 16 sequences of 2,048 tokens of chat data.
TEST_F(LaunchesTest, HeadTakesNineChunksAndThreeGibibytes) {
  constexpr int64_t kTokens = 28300, kVocabulary = 151936, kHidden = 64;
  const WeightAndGrad head{at::empty({kVocabulary, kHidden}, OnDevice(at::kBFloat16)),
                           at::empty({kVocabulary, kHidden}, OnDevice(at::kFloat))};
  at::Tensor hidden = at::empty({kTokens, kHidden}, OnDevice(at::kBFloat16));
  hidden.requires_grad_(true);
  LinearCrossEntropy(hidden, at::zeros({kTokens}, OnDevice(at::kLong)), head,
                     {.gradient_scale = 1.0, .with_gradient = true});
  // Logits, the gradient of the tokens, the gradient of the head.
  EXPECT_EQ(calls_("product "), 3u * 9u);
  EXPECT_LT(peak_bytes_(), 3.3 * (1 << 30));
}

// The metrics report what other processes cannot have: free blocks of the allocator too.
TEST_F(LaunchesTest, ReportsReservedMemory) {
  constexpr int64_t kBytes = 100 << 20;
  { const at::Tensor tensor = at::empty({kBytes}, OnDevice(at::kByte)); }
  const std::optional<DeviceMemory> memory = ReadDeviceMemory(TestDevice());
  ASSERT_TRUE(memory.has_value());
  EXPECT_GE(memory->bytes, kBytes);
  EXPECT_GE(memory->peak_bytes, memory->bytes);
}

TEST_F(LaunchesTest, ReservesMemoryInSegmentsThatGrow) {
  // More than the other tests have left in the allocator.
  const at::Tensor tensor = at::empty({int64_t{5} << 30}, OnDevice(at::kByte));
  EXPECT_GT(calls_("cuMemCreate"), 0u);
  EXPECT_EQ(calls_("cudaMalloc"), 0u);
}

}  // namespace
}  // namespace trainerd::engine
