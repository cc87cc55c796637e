// SPDX-License-Identifier: Apache-2.0
// The CUDA kernels on the host (cuda_on_host.h): what op_table_test does not show. Their results
// depend neither on the order in which a block's threads run nor on the alignment of a row.
#include "engine/ops/cuda/cuda_ops.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/engine/ops/cuda/cuda_on_host.h"

namespace trainerd::engine {
namespace {

using cuda_on_host::SetThreadOrder;
using cuda_on_host::ThreadOrder;

class CudaOpsTest : public ::testing::TestWithParam<at::ScalarType> {
 protected:
  void SetUp() override { at::manual_seed(2); }
  void TearDown() override { SetThreadOrder(ThreadOrder::kForward); }
  at::Tensor Rand(at::IntArrayRef sizes) const { return at::randn(sizes).to(GetParam()); }

  const OpTable& ops_ = *cuda::CudaOps(ReferenceOps());
};

// A contiguous copy of `x` whose address is not a multiple of 16.
at::Tensor Misaligned(const at::Tensor& x) {
  at::Tensor copy = at::empty({x.numel() + 1}, x.options()).narrow(0, 1, x.numel()).view_as(x);
  copy.copy_(x);
  return copy;
}

void ExpectSame(const RmsNormResult& actual, const RmsNormResult& expected) {
  EXPECT_TRUE(at::equal(actual.sum_TD, expected.sum_TD));
  EXPECT_TRUE(at::equal(actual.normed_TD, expected.normed_TD));
  EXPECT_TRUE(at::equal(actual.rstd_T, expected.rstd_T));
}

TEST_P(CudaOpsTest, RmsNormIgnoresThreadOrder) {
  for (int64_t columns : {96, 1027, 2560}) {
    const at::Tensor x = Rand({3, columns}), delta = Rand({3, columns}), weight = Rand({columns});
    SetThreadOrder(ThreadOrder::kForward);
    const RmsNormResult expected = ops_.rms_norm_forward(x, delta, weight, 1e-6);
    for (ThreadOrder order : {ThreadOrder::kBackward, ThreadOrder::kShuffled}) {
      SetThreadOrder(order);
      ExpectSame(ops_.rms_norm_forward(x, delta, weight, 1e-6), expected);
    }
  }
}

TEST_P(CudaOpsTest, RmsNormIgnoresAlignment) {
  const at::Tensor x = Rand({3, 1280}), delta = Rand({3, 1280}), weight = Rand({1280});
  const RmsNormResult expected = ops_.rms_norm_forward(x, delta, weight, 1e-6);
  ExpectSame(ops_.rms_norm_forward(Misaligned(x), delta, weight, 1e-6), expected);
  ExpectSame(ops_.rms_norm_forward(x, Misaligned(delta), Misaligned(weight), 1e-6), expected);
}

TEST_P(CudaOpsTest, RmsNormWithoutDeltaReturnsItsInputAsSum) {
  const at::Tensor x = Rand({2, 40}), before = x.clone();
  const RmsNormResult result = ops_.rms_norm_forward(x, at::Tensor(), Rand({40}), 1e-6);
  EXPECT_EQ(result.sum_TD.data_ptr(), x.data_ptr());
  EXPECT_TRUE(at::equal(x, before));
}

TEST_P(CudaOpsTest, AcceptsNoRows) {
  const RmsNormResult result = ops_.rms_norm_forward(Rand({0, 8}), Rand({0, 8}), Rand({8}), 1e-6);
  EXPECT_EQ(result.normed_TD.size(0), 0);
  EXPECT_EQ(result.rstd_T.size(0), 0);
}

INSTANTIATE_TEST_SUITE_P(Types, CudaOpsTest, ::testing::Values(at::kFloat, at::kBFloat16),
                         [](const auto& info) {
                           return std::string(info.param == at::kFloat ? "fp32" : "bf16");
                         });

// The names are those that nvcc registers with CUDA's runtime, demangled.
TEST(CudaOnHostTest, FindsKernelsByTheNameOfNvcc) {
  for (const char* type : {"float", "trainerd::engine::cuda::BFloat"}) {
    const std::string name =
        absl::StrCat("void trainerd::engine::cuda::(anonymous namespace)::RmsNormForward<", type,
                     ", true>(trainerd::engine::cuda::RmsNormForwardArguments<", type, ">)");
    EXPECT_NE(cuda_on_host::FindKernel(name), nullptr) << name;
  }
  EXPECT_EQ(cuda_on_host::FindKernel("void trainerd::engine::cuda::Other<float>(float)"), nullptr);
}

struct Numbers {
  float* values;
  float factor;
};
void Multiply(Numbers numbers) {
  numbers.values[32 * cuda_on_host::BlockIndex().x + cuda_on_host::ThreadIndex().x] *=
      numbers.factor;
}
void MultiplyOnDevice(Numbers numbers) { cuda::Launch<Multiply>(2, 32, nullptr, numbers); }

TEST(CudaOnHostTest, RunsAKernelThatIsNoTemplateAsItWasLaunched) {
  std::vector<float> values(64, 2.0f);
  Numbers numbers{values.data(), 3.0f};
  MultiplyOnDevice(numbers);
  EXPECT_EQ(values, std::vector<float>(64, 6.0f));
  const cuda_on_host::KernelFunction kernel = cuda_on_host::FindKernel(
      "trainerd::engine::(anonymous namespace)::Multiply(trainerd::engine::(anonymous "
      "namespace)::Numbers)");
  ASSERT_NE(kernel, nullptr);
  numbers.factor = 0.5f;
  void* arguments[] = {&numbers};
  kernel(1, 32, arguments);
  EXPECT_EQ(values[31], 3.0f);
  EXPECT_EQ(values[32], 6.0f);
}

TEST(CudaOnHostTest, ReportsThreadThatMissesABarrier) {
  EXPECT_DEATH(cuda_on_host::Run(1, 32,
                                 [] {
                                   if (cuda_on_host::ThreadIndex().x > 0)
                                     cuda_on_host::SyncThreads();
                                 }),
               "threads of a block or warp wait for others that never arrive");
}

}  // namespace
}  // namespace trainerd::engine
