// SPDX-License-Identifier: Apache-2.0
// One step by itself: normalisation over the whole step, and nothing touched when the numbers are
// not finite.
#include "engine/train/loop/train_step.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/sub.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "engine/core/job_error.h"
#include "tests/engine/data/test_data.h"
#include "tests/engine/train/tiny_run.h"

namespace trainerd::engine {
namespace {

using ::testing::HasSubstr;
using testing::RecordingSink;
using testing::TinyJob;

// A run that is ready for its first step, with four examples of different lengths.
class TrainStepTest : public ::testing::Test {
 protected:
  TrainStepTest() : job_(folder_) {}

  void Prepare(int32_t batch_size, int32_t accumulation) {
    spec_ = job_.Spec(
        "run", 1,
        absl::StrCat("train: {batch_size: ", batch_size, ", gradient_accumulation: ", accumulation,
                     ", max_grad_norm: 0.5}\nschedule: {type: constant, warmup_steps: 0}"));
    run_ = std::make_unique<engine::Run>(spec_, events_, control_);
    run_->device = testing::TestDevice();
    run_->model = *ReadModelConfig(folder_ / "model");
    run_->parameters = *ParameterSet::Create(run_->model, Precision::kFp32, run_->device);
    ASSERT_TRUE(run_->parameters->InitRandom(3).ok());
    run_->decoder = std::make_unique<Decoder>(run_->model, *run_->parameters);
    run_->optimizer = std::make_unique<AdamW>(*run_->parameters, AdamW::Options{});
    std::vector<TokenExample> examples;
    for (int32_t i = 0; i < 4; ++i) {
      TokenExample example{.index = i};
      for (int32_t t = 0; t < 5 + 4 * i; ++t) {
        example.ids.push_back((17 * t + 31 * i) % 300);
        example.labels.push_back(t < 3 ? kIgnoreIndex : example.ids.back());
      }
      examples.push_back(example);
    }
    run_->data.store = StoreOf(examples);
    run_->data.train_sequences = OneDocumentRows(4);
    run_->loader = std::make_unique<DataLoader>(
        *run_->data.store, run_->data.train_sequences,
        DataLoaderOptions{
            .batch_size = batch_size, .gradient_accumulation = accumulation, .shuffle = false});
    run_->state.total_steps = run_->loader->total_steps();
    run_->monitor = std::make_unique<LiveMonitor>(LiveMonitor::Options{});
  }

  TempDir folder_;
  TinyJob job_;
  internal::AttemptSpec spec_;
  RecordingSink events_;
  RunControl control_;
  std::unique_ptr<engine::Run> run_;
};

TEST_F(TrainStepTest, FourMicrobatchesOfOneAreOneOfFour) {
  StepResult one, four;
  Prepare(4, 1);
  ASSERT_TRUE(TrainStep(*run_, 1, &one).ok());
  const at::Tensor weights = run_->parameters->flat_master().clone();
  Prepare(1, 4);
  ASSERT_TRUE(TrainStep(*run_, 1, &four).ok());
  EXPECT_EQ(one.tokens, 5 + 9 + 13 + 17);
  EXPECT_EQ(four.tokens, one.tokens);
  EXPECT_EQ(four.target_tokens, one.target_tokens);
  EXPECT_NEAR(four.loss, one.loss, 1e-5 * one.loss);
  EXPECT_NEAR(four.grad_norm, one.grad_norm, 1e-4 * one.grad_norm);
  // AdamW's first update is ± the learning rate wherever the gradient is not tiny: a looser bound
  // than on the gradients.
  EXPECT_LT(at::sub(run_->parameters->flat_master(), weights).abs().mean().item<double>(), 1e-6);
}

TEST_F(TrainStepTest, TheLossIsTheMeanOverAllTargetTokensOfTheStep) {
  StepResult step;
  Prepare(1, 4);
  double sum = 0;
  int64_t targets = 0;
  const std::vector<Microbatch> batches = *run_->loader->Step(1);
  for (const Microbatch& batch : batches) {
    sum += run_->decoder->LossSum(ToDevice(batch, run_->device)).item<double>();
    targets += batch.target_tokens;
  }
  ASSERT_TRUE(TrainStep(*run_, 1, &step).ok());
  EXPECT_EQ(step.target_tokens, targets);
  EXPECT_NEAR(step.loss, sum / static_cast<double>(targets), 1e-6);
}

TEST_F(TrainStepTest, AStepThatIsNotFiniteTouchesNeitherWeightsNorOptimizer) {
  StepResult good, bad;
  Prepare(2, 2);
  ASSERT_TRUE(TrainStep(*run_, 1, &good).ok());
  run_->parameters->parameters()[0].master.view({-1})[5].fill_(
      std::numeric_limits<float>::infinity());
  run_->parameters->PublishCompute();
  const at::Tensor weights = run_->parameters->flat_master().clone();
  const at::Tensor exp_avg = run_->optimizer->exp_avg().clone();
  const at::Tensor exp_avg_sq = run_->optimizer->exp_avg_sq().clone();
  // Token 5 is in none of the rows, but its row of the tied head is in every sum.
  const absl::Status status = TrainStep(*run_, 1, &bad);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(ToJobError("Train", status).cause(), v1::JobError::NUMERICS);
  EXPECT_TRUE(at::equal(run_->parameters->flat_master(), weights));
  EXPECT_TRUE(at::equal(run_->optimizer->exp_avg(), exp_avg));
  EXPECT_TRUE(at::equal(run_->optimizer->exp_avg_sq(), exp_avg_sq));
}

TEST_F(TrainStepTest, ADiscardLeavesBetweenMicrobatchesWithoutAnUpdate) {
  StepResult result;
  Prepare(1, 4);
  const at::Tensor weights = run_->parameters->flat_master().clone();
  control_.RequestStop(StopMode::kDiscard);
  EXPECT_TRUE(absl::IsCancelled(TrainStep(*run_, 1, &result)));
  EXPECT_TRUE(at::equal(run_->parameters->flat_master(), weights));
}

}  // namespace
}  // namespace trainerd::engine
