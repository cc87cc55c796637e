// SPDX-License-Identifier: Apache-2.0
// Whole jobs of a tiny model that start from the checkpoint of another job.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/run_job.h"
#include "tests/engine/train/tiny_run.h"

namespace trainerd::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::kMomentum;
using testing::NoticeText;
using testing::Ran;
using testing::ReadText;
using testing::RunAttempt;
using testing::StartFrom;
using testing::StopAfterStep;
using testing::TinyJob;
using testing::WriteText;

TEST(RunJobInitFromTest, RefusesOptimizerStateOfAnotherOptimizer) {
  TempDir folder;
  TinyJob job(folder);
  Ran first;
  RunAttempt(job.Spec("run", 1), &first, StopAfterStep(6, StopMode::kStop));
  const std::string checkpoint = first.record.last_checkpoint().path();
  const auto run_from = [&](const std::string& state, Ran* ran) {
    internal::AttemptSpec spec = job.Spec(
        state, 1,
        absl::StrCat(kMomentum, "\ninit_from: {checkpoint: ", checkpoint, ", state: ", state, "}"));
    spec.set_init_path(checkpoint);
    RunAttempt(spec, ran);
  };
  Ran full, weights;
  run_from("full", &full);
  EXPECT_EQ(full.record.end(), v1::Attempt::FAILED);
  EXPECT_FALSE(full.record.error().retryable());
  EXPECT_THAT(full.record.error().message(), HasSubstr("momentum_buffer"));
  EXPECT_THAT(full.record.error().message(), HasSubstr("init_from.state: weights"));
  run_from("weights", &weights);
  EXPECT_EQ(weights.record.end(), v1::Attempt::COMPLETED) << weights.record.error().message();
}

TEST(RunJobInitFromTest, InitFromStartsWithFullStateOrWeights) {
  TempDir folder;
  TinyJob job(folder);
  Ran first;
  RunAttempt(job.Spec("run", 1), &first, StopAfterStep(6, StopMode::kStop));
  const std::string checkpoint = first.record.last_checkpoint().path();
  const auto from = [&](const std::string& run, const std::string& state) {
    internal::AttemptSpec spec = job.Spec(
        run, 1,
        absl::StrCat("optimizer: {learning_rate: 5.0e-3}\ninit_from: {checkpoint: ", checkpoint,
                     ", state: ", state, "}"));
    spec.set_init_path(checkpoint);
    return spec;
  };
  Ran full;
  RunAttempt(from("full", "full"), &full);
  ASSERT_EQ(full.record.end(), v1::Attempt::COMPLETED) << full.record.error().message();
  EXPECT_EQ(full.record.first_step(), 7);
  EXPECT_EQ(full.events.CountNotices("INIT_FROM_DIFFERS"), 1);
  Ran weights;
  RunAttempt(from("weights", "weights"), &weights);
  ASSERT_EQ(weights.record.end(), v1::Attempt::COMPLETED) << weights.record.error().message();
  EXPECT_EQ(weights.record.first_step(), 1);
  EXPECT_LT(weights.events.Losses().at(1), first.events.Losses().at(1));
}

// 24 conversations, 4 per step, 2 epochs: 12 steps.
TEST(RunJobInitFromTest, RefusesNewJobWithoutStepsLeft) {
  TempDir folder;
  TinyJob job(folder);
  Ran first;
  RunAttempt(job.Spec("run", 1), &first);
  ASSERT_EQ(first.record.end(), v1::Attempt::COMPLETED) << first.record.error().message();
  const std::string checkpoint = first.record.last_checkpoint().path();
  for (const char* overrides : {"optimizer: {learning_rate: 1.0e-4}", "train: {epochs: 1}"}) {
    Ran ran;
    RunAttempt(StartFrom(job, checkpoint, "refused", overrides), &ran);
    ASSERT_EQ(ran.record.end(), v1::Attempt::FAILED) << overrides;
    EXPECT_EQ(ran.record.error().code(), "NOTHING_TO_TRAIN");
    EXPECT_FALSE(ran.record.error().retryable());
    EXPECT_THAT(ran.record.error().message(), HasSubstr("init_from.state=weights"));
  }
  // The same job once more: it only saves the final model.
  Ran again;
  RunAttempt(StartFrom(job, checkpoint, "again", ""), &again);
  EXPECT_EQ(again.record.end(), v1::Attempt::COMPLETED) << again.record.error().message();
}

TEST(RunJobInitFromTest, ReportsLearningRateOfNextStepIfItChanged) {
  TempDir folder;
  TinyJob job(folder);
  Ran first;
  RunAttempt(job.Spec("run", 1, "schedule: {type: constant, warmup_steps: 0}"), &first,
             StopAfterStep(6, StopMode::kStop));
  const std::string checkpoint = first.record.last_checkpoint().path();
  const std::string constant = "schedule: {type: constant, warmup_steps: 0}\n";
  Ran same;
  RunAttempt(StartFrom(job, checkpoint, "same", constant), &same);
  EXPECT_EQ(same.events.CountNotices("LEARNING_RATE_CHANGED"), 0);
  Ran peak;
  RunAttempt(StartFrom(job, checkpoint, "peak", constant + "optimizer: {learning_rate: 2.5e-3}"),
             &peak);
  EXPECT_THAT(NoticeText(peak, "LEARNING_RATE_CHANGED"),
              HasSubstr("step 7, the next one, has learning rate 0.0025"));
  EXPECT_THAT(NoticeText(peak, "LEARNING_RATE_CHANGED"), HasSubstr("it would be 0.01"));
  Ran linear;
  RunAttempt(StartFrom(job, checkpoint, "linear", "schedule: {type: linear, warmup_steps: 0}"),
             &linear);
  // Half of 12 steps are done.
  EXPECT_THAT(NoticeText(linear, "LEARNING_RATE_CHANGED"), HasSubstr("has learning rate 0.005"));
}

TEST(RunJobInitFromTest, ReportsTheLearningRateOfTheGroupThatChanged) {
  TempDir folder;
  TinyJob job(folder);
  const std::string muon = "schedule: {type: constant, warmup_steps: 0}\noptimizer: {type: muon";
  Ran first;
  RunAttempt(job.Spec("run", 1, muon + "}"), &first, StopAfterStep(3, StopMode::kStop));
  const std::string checkpoint = first.record.last_checkpoint().path();
  Ran same, changed;
  RunAttempt(StartFrom(job, checkpoint, "same", muon + "}"), &same);
  EXPECT_EQ(same.events.CountNotices("LEARNING_RATE_CHANGED"), 0);
  RunAttempt(StartFrom(job, checkpoint, "changed", muon + ", adamw: {learning_rate: 1.0e-3}}"),
             &changed);
  ASSERT_EQ(changed.record.end(), v1::Attempt::COMPLETED) << changed.record.error().message();
  EXPECT_EQ(changed.events.CountNotices("LEARNING_RATE_CHANGED"), 1);
  EXPECT_THAT(NoticeText(changed, "LEARNING_RATE_CHANGED"),
              HasSubstr("has learning rate 0.001 for adamw: the schedule is constant from 0.001"));
  EXPECT_THAT(NoticeText(changed, "LEARNING_RATE_CHANGED"), HasSubstr("it would be 0.0003"));
}

TEST(RunJobInitFromTest, NeedsTheOptimizerOfTheCheckpoint) {
  TempDir folder;
  TinyJob job(folder);
  const std::map<std::string, std::string> optimizers = {
      {"adamw", "optimizer: {type: adamw}"},
      {"momentum", "optimizer: {type: sgd, momentum: 0.9}"},
      {"muon", "optimizer: {type: muon}"},
      {"adamw_8bit", "optimizer: {type: adamw_8bit}"}};
  for (const auto& [theirs, their_keys] : optimizers) {
    Ran first;
    RunAttempt(job.Spec(theirs, 1, their_keys), &first, StopAfterStep(1, StopMode::kStop));
    const std::string checkpoint = first.record.last_checkpoint().path();
    for (const auto& [ours, our_keys] : optimizers) {
      Ran ran;
      RunAttempt(StartFrom(job, checkpoint, absl::StrCat(theirs, "-", ours), our_keys), &ran);
      if (ours == theirs) {
        EXPECT_EQ(ran.record.end(), v1::Attempt::COMPLETED) << ran.record.error().message();
        continue;
      }
      EXPECT_EQ(ran.record.end(), v1::Attempt::FAILED) << ours << " from " << theirs;
      EXPECT_THAT(ran.record.error().message(), HasSubstr("is from a job with another optimizer"))
          << ours << " from " << theirs;
    }
  }
}

TEST(RunJobInitFromTest, ReportsMastersThatANewFreezeDrops) {
  TempDir folder;
  TinyJob job(folder, "bf16");
  Ran first;
  RunAttempt(job.Spec("run", 1), &first, StopAfterStep(2, StopMode::kStop));
  const std::string checkpoint = first.record.last_checkpoint().path();
  Ran frozen;
  RunAttempt(StartFrom(job, checkpoint, "frozen", "train: {freeze: [model.embed_tokens.weight]}"),
             &frozen);
  ASSERT_EQ(frozen.record.end(), v1::Attempt::COMPLETED) << frozen.record.error().message();
  EXPECT_THAT(NoticeText(frozen, "MASTERS_DROPPED"), HasSubstr("train.freeze freezes 1 tensor"));
  Ran same;
  RunAttempt(StartFrom(job, checkpoint, "same", ""), &same);
  EXPECT_EQ(same.events.CountNotices("MASTERS_DROPPED"), 0);
}

// By the file's header: before the data is read and the weights are loaded.
TEST(RunJobInitFromTest, RefusesParametersThatTheCheckpointsJobFroze) {
  const std::vector<std::pair<const char*, std::string>> cases = {{"fp32", ""},
                                                                  {"bf16", kMomentum}};
  for (const auto& [dtype, optimizer] : cases) {
    TempDir folder;
    TinyJob job(folder, dtype);
    const std::string frozen =
        optimizer + "\ntrain: {freeze: [model.layers.0.*, model.norm.weight]}";
    Ran first;
    RunAttempt(job.Spec("run", 1, frozen), &first, StopAfterStep(2, StopMode::kStop));
    const std::string checkpoint = first.record.last_checkpoint().path();
    const std::string thawed = optimizer + "\ntrain: {freeze: [model.layers.0.*]}";
    Ran ran;
    RunAttempt(StartFrom(job, checkpoint, "thawed", thawed), &ran);
    ASSERT_EQ(ran.record.end(), v1::Attempt::FAILED);
    EXPECT_EQ(ran.record.error().code(), "CONFIGURATION_INVALID");
    EXPECT_EQ(ran.record.error().message(),
              "OpenModel: " + checkpoint +
                  "/optimizer.safetensors has no optimizer state for 1 parameter that trains in "
                  "this job: model.norm.weight; the checkpoint's job froze it, so list it in "
                  "train.freeze, or start from its weights alone with init_from.state: weights");
    EXPECT_THAT(ran.events.Stages(), ElementsAre("CheckRunIdentity"));
    // Each piece of advice.
    Ran same, weights;
    RunAttempt(StartFrom(job, checkpoint, "same", frozen), &same);
    EXPECT_EQ(same.record.end(), v1::Attempt::COMPLETED) << same.record.error().message();
    internal::AttemptSpec spec = job.Spec(
        "weights", 1,
        absl::StrCat(thawed, "\ninit_from: {checkpoint: ", checkpoint, ", state: weights}"));
    spec.set_init_path(checkpoint);
    RunAttempt(spec, &weights);
    EXPECT_EQ(weights.record.end(), v1::Attempt::COMPLETED) << weights.record.error().message();
  }
}

// A parameter without optimizer state has its fp32 master there.
TEST(RunJobInitFromTest, RefusesMissingMastersWithoutOptimizerState) {
  constexpr char kSgd[] = "optimizer: {type: sgd, learning_rate: 0.1, momentum: 0}\n";
  for (const char* dtype : {"fp32", "bf16"}) {
    TempDir folder;
    TinyJob job(folder, dtype);
    Ran first;
    RunAttempt(job.Spec("run", 1, absl::StrCat(kSgd, "train: {freeze: [model.layers.*]}")), &first,
               StopAfterStep(2, StopMode::kStop));
    Ran ran;
    RunAttempt(StartFrom(job, first.record.last_checkpoint().path(), "thawed", kSgd), &ran);
    const bool has_masters = std::string(dtype) == "bf16";
    EXPECT_EQ(ran.record.end(), has_masters ? v1::Attempt::FAILED : v1::Attempt::COMPLETED)
        << ran.record.error().message();
    if (!has_masters) continue;
    EXPECT_THAT(ran.record.error().message(), HasSubstr("has no optimizer state for 18 parameters "
                                                        "that train in this job: model.layers.0."));
  }
}

TEST(RunJobInitFromTest, DamagedInitFromIsPermanentError) {
  TempDir folder;
  TinyJob job(folder);
  Ran first;
  RunAttempt(job.Spec("run", 1), &first, StopAfterStep(2, StopMode::kStop));
  const std::string checkpoint = first.record.last_checkpoint().path();
  std::string bytes = ReadText(checkpoint + "/model.safetensors");
  bytes.back() ^= 1;
  WriteText(checkpoint + "/model.safetensors", bytes);
  for (const char* state : {"full", "weights"}) {
    internal::AttemptSpec spec = job.Spec(
        state, 1, absl::StrCat("init_from: {checkpoint: ", checkpoint, ", state: ", state, "}"));
    spec.set_init_path(checkpoint);
    Ran ran;
    RunAttempt(spec, &ran);
    ASSERT_EQ(ran.record.end(), v1::Attempt::FAILED);
    EXPECT_EQ(ran.record.error().code(), "CHECKPOINT_DAMAGED");
    EXPECT_FALSE(ran.record.error().retryable());
    EXPECT_THAT(ran.record.error().message(), HasSubstr("model.safetensors"));
    EXPECT_THAT(ran.record.error().message(), HasSubstr("init_from.checkpoint"));
  }
}

}  // namespace
}  // namespace trainerd::engine
