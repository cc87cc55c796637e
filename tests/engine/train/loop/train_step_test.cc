// SPDX-License-Identifier: Apache-2.0
// One step: normalization over the whole step, and no update if the numbers are not finite.
#include "engine/train/loop/train_step.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/sub.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "absl/strings/str_cat.h"
#include "engine/core/job_error.h"
#include "tests/engine/data/test_data.h"
#include "tests/engine/optim/optimizers.h"
#include "tests/engine/train/tiny_run.h"

namespace trainerd::engine {
namespace {

using ::testing::HasSubstr;
using testing::RecordingSink;
using testing::TinyJob;

// A job that is ready for its first step, with four examples of different lengths.
class TrainStepTest : public ::testing::Test {
 protected:
  TrainStepTest() : job_(folder_) {}

  void Prepare(int32_t batch_size, int32_t accumulation) {
    spec_ = job_.Spec(
        "run", 1,
        absl::StrCat("train: {batch_size: ", batch_size, ", gradient_accumulation: ", accumulation,
                     ", max_grad_norm: 0.5}\nschedule: {type: constant, warmup_steps: 0}"));
    context_ = std::make_unique<AttemptContext>(spec_, events_, control_);
    context_->device = testing::TestDevice();
    context_->model = *ReadModelConfig(folder_ / "model");
    context_->parameters =
        *ParameterSet::Create(context_->model, Precision::kFp32, context_->device);
    ASSERT_TRUE(context_->parameters->InitRandom(3).ok());
    context_->decoder = std::make_unique<Decoder>(context_->model, *context_->parameters);
    context_->optimizer = testing::Build(testing::AdamWConfig(), *context_->parameters);
    std::vector<TokenExample> examples;
    for (int32_t i = 0; i < 4; ++i) {
      TokenExample example{.index = i};
      for (int32_t t = 0; t < 5 + 4 * i; ++t) {
        example.ids.push_back((17 * t + 31 * i) % 300);
        example.labels.push_back(t < 3 ? kIgnoreIndex : example.ids.back());
      }
      examples.push_back(example);
    }
    context_->data.store = StoreOf(examples);
    context_->data.train_sequences = OneDocumentRows(4);
    context_->loader = std::make_unique<DataLoader>(
        *context_->data.store, context_->data.train_sequences,
        DataLoaderOptions{
            .batch_size = batch_size, .gradient_accumulation = accumulation, .shuffle = false});
    context_->state.total_steps = context_->loader->total_steps();
    context_->monitor = std::make_unique<LiveMonitor>(LiveMonitor::Options{});
  }

  TempDir folder_;
  TinyJob job_;
  internal::AttemptSpec spec_;
  RecordingSink events_;
  RunControl control_;
  std::unique_ptr<AttemptContext> context_;
};

TEST_F(TrainStepTest, FourMicrobatchesOfOneEqualOneOfFour) {
  StepResult one, four;
  Prepare(4, 1);
  ASSERT_TRUE(TrainStep(*context_, 1, &one).ok());
  const at::Tensor weights = context_->parameters->flat_master().clone();
  Prepare(1, 4);
  ASSERT_TRUE(TrainStep(*context_, 1, &four).ok());
  EXPECT_EQ(one.tokens, 5 + 9 + 13 + 17);
  EXPECT_EQ(four.tokens, one.tokens);
  EXPECT_EQ(four.target_tokens, one.target_tokens);
  EXPECT_NEAR(four.loss, one.loss, 1e-5 * one.loss);
  EXPECT_NEAR(four.grad_norm, one.grad_norm, 1e-4 * one.grad_norm);
  // AdamW's first update is ± the learning rate wherever the gradient is not tiny: a looser bound
  // than on the gradients.
  EXPECT_LT(at::sub(context_->parameters->flat_master(), weights).abs().mean().item<double>(),
            1e-6);
}

TEST_F(TrainStepTest, LossIsMeanOverTargetTokensOfStep) {
  StepResult step;
  Prepare(1, 4);
  double sum = 0;
  int64_t targets = 0;
  const std::vector<Microbatch> batches = *context_->loader->Step(1);
  for (const Microbatch& batch : batches) {
    sum += context_->decoder->LossSum(ToDevice(batch, context_->device)).item<double>();
    targets += batch.target_tokens;
  }
  ASSERT_TRUE(TrainStep(*context_, 1, &step).ok());
  EXPECT_EQ(step.target_tokens, targets);
  EXPECT_NEAR(step.loss, sum / static_cast<double>(targets), 1e-6);
}

TEST_F(TrainStepTest, NonFiniteStepKeepsWeightsAndOptimizer) {
  StepResult good, bad;
  Prepare(2, 2);
  ASSERT_TRUE(TrainStep(*context_, 1, &good).ok());
  context_->parameters->parameters()[0].master.view({-1})[5].fill_(
      std::numeric_limits<float>::infinity());
  context_->parameters->PublishCompute();
  const at::Tensor weights = context_->parameters->flat_master().clone();
  const std::vector<at::Tensor> state = testing::Copy(testing::StateTensors(*context_->optimizer));
  // Token 5 is in none of the rows, but its row of the tied head is in every sum.
  const absl::Status status = TrainStep(*context_, 1, &bad);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(ToJobError("Train", status).cause(), v1::JobError::NUMERICS);
  EXPECT_TRUE(at::equal(context_->parameters->flat_master(), weights));
  EXPECT_TRUE(testing::Equal(testing::StateTensors(*context_->optimizer), state));
}

TEST_F(TrainStepTest, DiscardBetweenMicrobatchesAppliesNothing) {
  StepResult result;
  Prepare(1, 4);
  const at::Tensor weights = context_->parameters->flat_master().clone();
  control_.RequestStop(StopMode::kDiscard);
  EXPECT_TRUE(absl::IsCancelled(TrainStep(*context_, 1, &result)));
  EXPECT_TRUE(at::equal(context_->parameters->flat_master(), weights));
}

}  // namespace
}  // namespace trainerd::engine
