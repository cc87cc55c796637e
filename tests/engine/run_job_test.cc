// SPDX-License-Identifier: Apache-2.0
// Whole jobs of a tiny model: stages, resume to the same bytes, pause, stop, discard, and errors.
// Expectations come from running the same job without interruption, or from the rules for stopping
// and resuming.
#include "engine/run_job.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "engine/formats/safetensors.h"
#include "engine/model/folder/hf_folder.h"
#include "proto/contract/run_dir/manifest.h"
#include "tests/engine/train/tiny_run.h"

namespace trainerd::engine {
namespace {

using ::testing::ElementsAre;
using testing::FileHash;
using ::testing::HasSubstr;
using testing::Ran;
using testing::ReadText;
using testing::RunAttempt;
using testing::StopAfterStep;
using testing::TinyJob;
using testing::WriteText;

std::string FinalHash(const internal::AttemptSpec& spec) {
  return FileHash(spec.run_dir() + "/final/model.safetensors");
}

TEST(RunJobTest, LearnsAndWritesVerifiedFinalModel) {
  TempDir folder;
  TinyJob job(folder);
  const internal::AttemptSpec spec =
      job.Spec("run", 1, "evaluation: {at_start: true, at_end: true, every_steps: 5}");
  Ran ran;
  RunAttempt(spec, &ran);
  ASSERT_EQ(ran.record.end(), v1::Attempt::COMPLETED) << ran.record.error().message();
  EXPECT_THAT(ran.events.Stages(),
              ElementsAre("CheckRunIdentity", "OpenModel", "PrepareData", "CheckMasking",
                          "LoadWeights", "BuildOptimizer", "Restore", "Train", "SaveFinal"));
  // 24 rows, 4 a step, 2 epochs.
  EXPECT_EQ(ran.record.first_step(), 1);
  EXPECT_EQ(ran.record.last_step(), 12);
  const auto losses = ran.events.Losses();
  ASSERT_EQ(losses.size(), 12u);
  EXPECT_LT(losses.at(12), 0.8 * losses.at(1));
  EXPECT_THAT(ran.events.EvaluatedSteps(), ElementsAre(0, 5, 10, 12));
  const auto manifest = ReadManifest(spec.run_dir() + "/final");
  ASSERT_TRUE(manifest.ok()) << manifest.status();
  EXPECT_EQ(manifest->kind, "final");
  EXPECT_EQ(manifest->step, 12);
  EXPECT_TRUE(VerifyFolder(spec.run_dir() + "/final", *manifest).ok());
  EXPECT_EQ(manifest->files.count("tokenizer.json"), 1u);
  EXPECT_EQ(ran.record.last_checkpoint().step(), 12);
  EXPECT_TRUE(ran.record.last_checkpoint().verified());
}

TEST(RunJobTest, FirstUpdateOfWarmUpHasLearningRateZero) {
  TempDir folder;
  TinyJob job(folder);
  Ran ran;
  RunAttempt(job.Spec("run", 1, "train: {max_steps: 3}"), &ran);
  ASSERT_EQ(ran.record.end(), v1::Attempt::COMPLETED) << ran.record.error().message();
  std::vector<double> rates;
  for (const v1::Event& event : ran.events.events()) {
    if (event.has_metrics()) rates.push_back(event.metrics().learning_rate());
  }
  ASSERT_EQ(rates.size(), 3u);
  EXPECT_EQ(rates[0], 0);
  EXPECT_NEAR(rates[1], 0.5e-2, 1e-12);
  EXPECT_NEAR(rates[2], 1e-2, 1e-12);
}

struct ResumeCase {
  const char* precision;
  const char* packing;
  const char* dtype;  // of the model folder
  const char* name = "";
  const char* train_keys = "";
  const char* sections = "";
};

std::string ResumeName(const ::testing::TestParamInfo<ResumeCase>& info) {
  return absl::StrCat(info.param.precision, "_", info.param.packing, "_from_", info.param.dtype,
                      *info.param.name == '\0' ? "" : "_", info.param.name);
}

class ResumeTest : public ::testing::TestWithParam<ResumeCase> {};

// Stops after each of several steps (one in the middle of an epoch, one at its end) and resumes.
// All losses and the final weights must equal those of the uninterrupted job bit for bit.
TEST_P(ResumeTest, EndsWithBytesOfUninterruptedJob) {
  TempDir folder;
  TinyJob job(folder, GetParam().dtype);
  const std::string overrides =
      absl::StrCat("train: {precision: ", GetParam().precision, GetParam().train_keys,
                   "}\ndata: {packing: ", GetParam().packing, "}\n", GetParam().sections);
  const internal::AttemptSpec uninterrupted = job.Spec("uninterrupted", 1, overrides);
  Ran whole;
  RunAttempt(uninterrupted, &whole);
  ASSERT_EQ(whole.record.end(), v1::Attempt::COMPLETED) << whole.record.error().message();
  const int64_t total = whole.record.last_step();
  ASSERT_GE(total, 4);
  int attempt = 0;
  std::map<int64_t, double> losses;
  for (const int64_t stop : {int64_t{1}, total / 2, total - 1}) {
    const internal::AttemptSpec spec = job.Spec("stopped", ++attempt, overrides);
    Ran ran;
    RunAttempt(spec, &ran,
               StopAfterStep(stop, attempt % 2 == 0 ? StopMode::kPause : StopMode::kStop));
    ASSERT_EQ(ran.record.end(), attempt % 2 == 0 ? v1::Attempt::PAUSED_OK : v1::Attempt::STOPPED_OK)
        << ran.record.error().message();
    EXPECT_EQ(ran.record.last_checkpoint().step(), stop);
    for (const auto& [step, loss] : ran.events.Losses()) losses[step] = loss;
  }
  const internal::AttemptSpec last = job.Spec("stopped", ++attempt, overrides);
  Ran ran;
  RunAttempt(last, &ran);
  ASSERT_EQ(ran.record.end(), v1::Attempt::COMPLETED) << ran.record.error().message();
  EXPECT_EQ(ran.record.first_step(), total);
  for (const auto& [step, loss] : ran.events.Losses()) losses[step] = loss;
  EXPECT_EQ(losses, whole.events.Losses());
  EXPECT_EQ(FinalHash(last), FinalHash(uninterrupted));
  EXPECT_EQ(ran.events.CountNotices("RESUME_ENVIRONMENT"), 0);
}

INSTANTIATE_TEST_SUITE_P(Matrix, ResumeTest,
                         ::testing::Values(ResumeCase{"fp32", "none", "fp32"},
                                           ResumeCase{"fp32", "bfd", "bf16"},
                                           ResumeCase{"bf16", "none", "bf16"},
                                           ResumeCase{"bf16", "bfd", "fp32"}),
                         ResumeName);

// Another optimizer, with and without state, and frozen parameters whose dtype is narrower or wider
// than that of the computation.
constexpr char kSgd[] = "optimizer: {type: sgd, learning_rate: 0.5}";
constexpr char kMomentum[] =
    "optimizer: {type: sgd, learning_rate: 0.1, momentum: 0.9, nesterov: true}";
constexpr char kFreeze[] =
    ", freeze: [model.embed_tokens.*, model.layers.0.*, \"*.1.self_attn.k_proj.*\"]";
INSTANTIATE_TEST_SUITE_P(Sgd, ResumeTest,
                         ::testing::Values(ResumeCase{"fp32", "none", "fp32", "sgd", "", kSgd},
                                           ResumeCase{"bf16", "bfd", "bf16", "sgd_momentum", "",
                                                      kMomentum}),
                         ResumeName);
INSTANTIATE_TEST_SUITE_P(Freeze, ResumeTest,
                         ::testing::Values(ResumeCase{"fp32", "none", "bf16", "freeze", kFreeze},
                                           ResumeCase{"bf16", "bfd", "fp32", "freeze", kFreeze},
                                           ResumeCase{"bf16", "none", "bf16", "freeze_sgd", kFreeze,
                                                      kMomentum}),
                         ResumeName);

TEST(RunJobTest, LearnsWithSgd) {
  TempDir folder;
  TinyJob job(folder);
  Ran ran;
  RunAttempt(job.Spec("run", 1, kMomentum), &ran);
  ASSERT_EQ(ran.record.end(), v1::Attempt::COMPLETED) << ran.record.error().message();
  EXPECT_LT(ran.events.Losses().at(12), 0.8 * ran.events.Losses().at(1));
}

// Checkpoint and final model hold frozen weights byte for byte as the source does, also where the
// computation is in a narrower dtype.
TEST(RunJobTest, KeepsBytesOfFrozenWeights) {
  for (const char* dtype : {"fp32", "bf16"}) {
    TempDir folder;
    TinyJob job(folder, dtype);
    Ran ran;
    const internal::AttemptSpec spec =
        job.Spec("run", 1, absl::StrCat("train: {precision: bf16", kFreeze, "}"));
    RunAttempt(spec, &ran);
    ASSERT_EQ(ran.record.end(), v1::Attempt::COMPLETED) << ran.record.error().message();
    EXPECT_EQ(ran.events.CountNotices("FROZEN_PARAMETERS"), 1);
    const auto source = SafetensorsFile::Open(folder / "model/model.safetensors");
    ASSERT_TRUE(source.ok());
    for (const std::string& path :
         {spec.run_dir() + "/final", ran.record.last_checkpoint().path()}) {
      const auto written = HfFolder::Open(path);
      ASSERT_TRUE(written.ok()) << written.status();
      int equal = 0;
      for (const TensorInfo& info : (*source)->tensors()) {
        const std::string& name = info.name;
        ASSERT_EQ(info.dtype, (*written)->Find(name)->dtype);
        const bool same = (*source)->Bytes(info) == *(*written)->Bytes(name, info.shape);
        const bool frozen = name == "model.embed_tokens.weight" ||
                            name.rfind("model.layers.0.", 0) == 0 ||
                            name == "model.layers.1.self_attn.k_proj.weight";
        if (frozen) {
          EXPECT_TRUE(same) << name;
        }
        equal += same ? 1 : 0;
      }
      EXPECT_LT(equal, static_cast<int>((*source)->tensors().size()));
    }
  }
}

TEST(RunJobTest, RefusesFreezePatternBeforePreparingData) {
  TempDir folder;
  TinyJob job(folder);
  Ran ran;
  RunAttempt(job.Spec("run", 1, "train: {freeze: [model.embedding.*]}"), &ran);
  EXPECT_EQ(ran.record.end(), v1::Attempt::FAILED);
  EXPECT_EQ(ran.record.error().code(), "CONFIGURATION_INVALID");
  EXPECT_EQ(ran.record.error().cause(), v1::JobError::USER);
  EXPECT_THAT(ran.record.error().message(),
              HasSubstr("train.freeze[0]: \"model.embedding.*\" matches no parameter"));
  EXPECT_THAT(ran.events.Stages(), ElementsAre("CheckRunIdentity"));
}

TEST(RunJobTest, RefusesOptimizerStateOfAnotherOptimizer) {
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

TEST(RunJobTest, RepeatsStepsAfterKillWithEqualLosses) {
  TempDir folder;
  TinyJob job(folder);
  const std::string overrides = "checkpoint: {every_steps: 4}";
  Ran killed;
  // Discard at step 7 leaves what a kill leaves: the checkpoint of step 4, and nothing of steps 5
  // to 7.
  RunAttempt(job.Spec("run", 1, overrides), &killed, StopAfterStep(7, StopMode::kDiscard));
  ASSERT_EQ(killed.record.end(), v1::Attempt::DISCARDED);
  const internal::AttemptSpec spec = job.Spec("run", 2, overrides);
  EXPECT_THAT(spec.resume_path(), HasSubstr("step-00000004-a1"));
  Ran resumed;
  RunAttempt(spec, &resumed);
  ASSERT_EQ(resumed.record.end(), v1::Attempt::COMPLETED) << resumed.record.error().message();
  EXPECT_EQ(resumed.record.first_step(), 5);
  for (const int64_t step : {5, 6, 7})
    EXPECT_EQ(resumed.events.Losses().at(step), killed.events.Losses().at(step));
  // The parent chain: 12 → 8 → 4.
  EXPECT_EQ(resumed.record.last_checkpoint().parent(),
            "jobs/0123456789ab/checkpoints/step-00000008-a2");
}

TEST(RunJobTest, ResumedJobRunsInterruptedValidationOnce) {
  TempDir folder;
  TinyJob job(folder);
  const std::string overrides = "evaluation: {every_steps: 3, at_start: true, at_end: true}";
  Ran paused;
  RunAttempt(job.Spec("run", 1, overrides), &paused, StopAfterStep(3, StopMode::kPause));
  ASSERT_EQ(paused.record.end(), v1::Attempt::PAUSED_OK);
  EXPECT_THAT(paused.events.EvaluatedSteps(), ElementsAre(0));
  Ran resumed;
  RunAttempt(job.Spec("run", 2, overrides), &resumed);
  EXPECT_THAT(resumed.events.EvaluatedSteps(), ElementsAre(3, 6, 9, 12));
}

TEST(RunJobTest, PauseBeforeFirstStepWritesNoCheckpoint) {
  TempDir folder;
  TinyJob job(folder);
  Ran ran;
  RunAttempt(job.Spec("run", 1), &ran, [](const v1::Event& event, RunControl& control) {
    if (event.stage().stage() == "LoadWeights") control.RequestStop(StopMode::kPause);
  });
  EXPECT_EQ(ran.record.end(), v1::Attempt::PAUSED_OK);
  EXPECT_FALSE(ran.record.has_last_checkpoint());
  EXPECT_TRUE(ran.events.Losses().empty());
}

TEST(RunJobTest, WritesRequestedCheckpointAtEndOfStep) {
  TempDir folder;
  TinyJob job(folder);
  Ran ran;
  std::vector<int64_t> published;
  RunAttempt(job.Spec("run", 1), &ran, [&](const v1::Event& event, RunControl& control) {
    if (event.metrics().step() == 5) control.RequestCheckpoint();
    if (event.checkpoint().kind() == v1::CheckpointEvent::PUBLISHED)
      published.push_back(event.checkpoint().checkpoint().step());
  });
  ASSERT_EQ(ran.record.end(), v1::Attempt::COMPLETED) << ran.record.error().message();
  EXPECT_THAT(published, ElementsAre(5, 12));
}

TEST(RunJobTest, FinishesSaveFinalDespitePause) {
  TempDir folder;
  TinyJob job(folder);
  Ran ran;
  RunAttempt(job.Spec("run", 1), &ran, [](const v1::Event& event, RunControl& control) {
    if (event.stage().stage() == "SaveFinal" && !event.stage().finished())
      control.RequestStop(StopMode::kPause);
  });
  EXPECT_EQ(ran.record.end(), v1::Attempt::COMPLETED) << ran.record.error().message();
}

TEST(RunJobTest, PublishesNothingAfterDiscardDuringSaveFinal) {
  TempDir folder;
  TinyJob job(folder);
  const internal::AttemptSpec spec = job.Spec("run", 1);
  Ran ran;
  RunAttempt(spec, &ran, [](const v1::Event& event, RunControl& control) {
    if (event.stage().stage() == "SaveFinal" && !event.stage().finished())
      control.RequestStop(StopMode::kDiscard);
  });
  EXPECT_EQ(ran.record.end(), v1::Attempt::DISCARDED);
  EXPECT_FALSE(std::filesystem::exists(spec.run_dir() + "/final"));
}

TEST(RunJobTest, RefusesResumeWithOtherValuesByName) {
  TempDir folder;
  TinyJob job(folder);
  Ran first;
  RunAttempt(job.Spec("run", 1), &first, StopAfterStep(2, StopMode::kStop));
  ASSERT_EQ(first.record.end(), v1::Attempt::STOPPED_OK);
  Ran second;
  RunAttempt(job.Spec("run", 2, "optimizer: {learning_rate: 3.0e-3}"), &second);
  ASSERT_EQ(second.record.end(), v1::Attempt::FAILED);
  EXPECT_EQ(second.record.error().code(), "RUN_IDENTITY");
  EXPECT_EQ(second.record.error().cause(), v1::JobError::USER);
  EXPECT_FALSE(second.record.error().retryable());
  EXPECT_THAT(second.record.error().message(), HasSubstr("optimizer.learning_rate (0.01 → 0.003)"));
}

TEST(RunJobTest, ReportsChangedLengthAndFollowsIt) {
  TempDir folder;
  TinyJob job(folder);
  Ran first;
  RunAttempt(job.Spec("run", 1), &first, StopAfterStep(2, StopMode::kStop));
  Ran second;
  RunAttempt(job.Spec("run", 2, "train: {max_steps: 5}"), &second);
  ASSERT_EQ(second.record.end(), v1::Attempt::COMPLETED) << second.record.error().message();
  EXPECT_EQ(second.record.last_step(), 5);
  EXPECT_EQ(second.events.CountNotices("RUN_LENGTH_CHANGED"), 1);
}

TEST(RunJobTest, OnlySavesFinalModelIfLengthIsReached) {
  TempDir folder;
  TinyJob job(folder);
  Ran first;
  RunAttempt(job.Spec("run", 1), &first, StopAfterStep(6, StopMode::kStop));
  const internal::AttemptSpec spec = job.Spec("run", 2, "train: {max_steps: 4}");
  Ran second;
  RunAttempt(spec, &second);
  ASSERT_EQ(second.record.end(), v1::Attempt::COMPLETED) << second.record.error().message();
  EXPECT_EQ(second.record.first_step(), 0);
  const auto manifest = ReadManifest(spec.run_dir() + "/final");
  ASSERT_TRUE(manifest.ok());
  EXPECT_EQ(manifest->step, 6);
}

TEST(RunJobTest, RefusesChangedData) {
  TempDir folder;
  TinyJob job(folder);
  Ran first;
  RunAttempt(job.Spec("run", 1), &first, StopAfterStep(2, StopMode::kStop));
  testing::WriteConversations(folder / "train.jsonl", 25);
  Ran second;
  RunAttempt(job.Spec("run", 2), &second);
  ASSERT_EQ(second.record.end(), v1::Attempt::FAILED);
  EXPECT_EQ(second.record.error().code(), "DATA_CHANGED");
  EXPECT_EQ(second.record.error().cause(), v1::JobError::DATA);
}

TEST(RunJobTest, InitFromStartsWithFullStateOrWeights) {
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

std::string NoticeText(const Ran& ran, const std::string& code) {
  for (const v1::Event& event : ran.events.events()) {
    if (event.notice().code() == code) return event.notice().message();
  }
  return "";
}

// A spec that starts from `checkpoint` with its full state.
internal::AttemptSpec StartFrom(const TinyJob& job, const std::string& checkpoint,
                                const std::string& run, const std::string& overrides) {
  internal::AttemptSpec spec = job.Spec(
      run, 1, absl::StrCat(overrides, "\ninit_from: {checkpoint: ", checkpoint, ", state: full}"));
  spec.set_init_path(checkpoint);
  return spec;
}

// 24 conversations, 4 per step, 2 epochs: 12 steps.
TEST(RunJobTest, RefusesNewJobWithoutStepsLeft) {
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

TEST(RunJobTest, ReportsLearningRateOfNextStepIfItChanged) {
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

TEST(RunJobTest, ReportsMastersThatANewFreezeDrops) {
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

TEST(RunJobTest, RefusesOutputThatCannotBeCreatedBeforeTraining) {
  TempDir folder;
  TinyJob job(folder);
  Ran ran;
  RunAttempt(job.Spec("run", 1, absl::StrCat("output: {path: ", folder / "train.jsonl/out", "}")),
             &ran);
  ASSERT_EQ(ran.record.end(), v1::Attempt::FAILED);
  EXPECT_EQ(ran.record.error().code(), "OUTPUT_INVALID");
  EXPECT_EQ(ran.record.error().cause(), v1::JobError::USER);
  EXPECT_FALSE(ran.record.error().retryable());
  EXPECT_TRUE(ran.events.Losses().empty());
}

TEST(RunJobTest, NamesDamagedCheckpoint) {
  TempDir folder;
  TinyJob job(folder);
  Ran first;
  RunAttempt(job.Spec("run", 1), &first, StopAfterStep(2, StopMode::kStop));
  const internal::AttemptSpec spec = job.Spec("run", 2);
  std::string bytes = ReadText(spec.resume_path() + "/optimizer.safetensors");
  bytes.back() ^= 1;
  WriteText(spec.resume_path() + "/optimizer.safetensors", bytes);
  Ran second;
  RunAttempt(spec, &second);
  ASSERT_EQ(second.record.end(), v1::Attempt::FAILED);
  EXPECT_EQ(second.record.error().code(), "CHECKPOINT_DAMAGED");
  EXPECT_THAT(second.record.error().message(), HasSubstr("optimizer.safetensors"));
}

TEST(RunJobTest, DamagedInitFromIsPermanentError) {
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

TEST(RunJobTest, WritesNothingWithoutRightToPublish) {
  TempDir folder;
  TinyJob job(folder);
  const internal::AttemptSpec spec = job.Spec("run", 1);
  Ran ran;
  RunAttempt(spec, &ran, [&](const v1::Event& event, RunControl& control) {
    if (event.metrics().step() != 3) return;
    ASSERT_TRUE(WritePublisher(spec.run_dir(), 2).ok());
    control.RequestStop(StopMode::kStop);
  });
  ASSERT_EQ(ran.record.end(), v1::Attempt::FAILED);
  EXPECT_EQ(ran.record.error().code(), "FENCED");
  EXPECT_TRUE(std::filesystem::is_empty(spec.run_dir() + "/checkpoints"));
}

TEST(RunJobTest, RemovesTemporaryFoldersOfDeadAttempts) {
  TempDir folder;
  TinyJob job(folder);
  const internal::AttemptSpec spec = job.Spec("run", 3);
  const std::string stale = spec.run_dir() + "/checkpoints/.tmp-a2-100";
  std::filesystem::create_directories(stale);
  WriteText(stale + "/model.safetensors", "half");
  Ran ran;
  RunAttempt(spec, &ran, StopAfterStep(1, StopMode::kStop));
  EXPECT_FALSE(std::filesystem::exists(stale));
}

TEST(RunJobTest, CopiesFinalModelAndRefusesForeignFolder) {
  TempDir folder;
  TinyJob job(folder);
  const std::string output = folder / "models/out";
  const std::string overrides = absl::StrCat("train: {max_steps: 3}\noutput: {path: ", output, "}");
  const internal::AttemptSpec spec = job.Spec("run", 1, overrides);
  Ran ran;
  RunAttempt(spec, &ran);
  ASSERT_EQ(ran.record.end(), v1::Attempt::COMPLETED) << ran.record.error().message();
  EXPECT_EQ(FileHash(output + "/model.safetensors"), FinalHash(spec));
  EXPECT_TRUE(VerifyFolder(output, *ReadManifest(output)).ok());
  EXPECT_FALSE(std::filesystem::exists(folder / "models/.tmp-0123456789ab"));
  // The same job again (a crash after the copy) finds its own folder; another job does not get it.
  Ran again;
  RunAttempt(job.Spec("run", 2, overrides), &again);
  EXPECT_EQ(again.record.end(), v1::Attempt::COMPLETED) << again.record.error().message();
  internal::AttemptSpec other = job.Spec("other", 1, overrides);
  other.set_job("jobs/ffffffffffff");
  Ran refused;
  RunAttempt(other, &refused);
  ASSERT_EQ(refused.record.end(), v1::Attempt::FAILED);
  EXPECT_THAT(refused.record.error().message(), HasSubstr("already exists"));
  EXPECT_TRUE(refused.events.Losses().empty());
}

// The output was free at submit, and no longer is when the model is published.
TEST(RunJobTest, OutputThatCannotBePublishedIsReportedAsItIsAndKeepsFinalModel) {
  struct Case {
    const char* name;
    std::function<void(const std::string&)> spoil;
    const char* says;
    bool retryable;
  };
  const std::vector<Case> cases = {
      {"taken", [](const std::string& root) { std::filesystem::create_directories(root + "/out"); },
       "already exists", false},
      {"link",
       [](const std::string& root) { ASSERT_EQ(symlink("/nowhere", (root + "/out").c_str()), 0); },
       "already exists", false},
      {"parent is a file",
       [](const std::string& root) {
         std::filesystem::remove(root);
         WriteText(root, "a file");
       },
       "cannot be created", false},
      {"parent leads to nothing",
       [](const std::string& root) {
         std::filesystem::remove(root);
         ASSERT_EQ(symlink("/nowhere/at/all", root.c_str()), 0);
       },
       "does not exist", false},
      {"parent leads to /proc",
       [](const std::string& root) {
         std::filesystem::remove(root);
         ASSERT_EQ(symlink("/proc", root.c_str()), 0);
       },
       "/proc", false},
  };
  for (const Case& c : cases) {
    TempDir folder;
    TinyJob job(folder);
    const std::string root = folder / "models";
    std::filesystem::create_directories(root);
    const internal::AttemptSpec spec =
        job.Spec("run", 1, absl::StrCat("train: {max_steps: 3}\noutput: {path: ", root, "/out}"));
    Ran ran;
    RunAttempt(spec, &ran, [&](const v1::Event& event, RunControl&) {
      if (event.metrics().step() == 3) c.spoil(root);
    });
    ASSERT_EQ(ran.record.end(), v1::Attempt::FAILED) << c.name;
    const v1::JobError& error = ran.record.error();
    EXPECT_EQ(error.code(), "OUTPUT_INVALID") << c.name << ": " << error.message();
    EXPECT_EQ(error.retryable(), c.retryable) << c.name;
    EXPECT_THAT(error.message(), HasSubstr(c.says)) << c.name;
    EXPECT_THAT(error.message(), HasSubstr(spec.run_dir() + "/final")) << c.name;
    EXPECT_TRUE(
        VerifyFolder(spec.run_dir() + "/final", *ReadManifest(spec.run_dir() + "/final")).ok());
  }
}

TEST(RunJobTest, PublishesUnderLongestLegalName) {
  TempDir folder;
  TinyJob job(folder);
  const std::string output = folder / std::string(255, 'o');
  Ran ran;
  RunAttempt(
      job.Spec("run", 1, absl::StrCat("train: {max_steps: 3}\noutput: {path: ", output, "}")),
      &ran);
  ASSERT_EQ(ran.record.end(), v1::Attempt::COMPLETED) << ran.record.error().message();
  EXPECT_TRUE(VerifyFolder(output, *ReadManifest(output)).ok());
}

TEST(RunJobTest, RefusesOutputInRunDirectoryBeforeTraining) {
  TempDir folder;
  TinyJob job(folder);
  internal::AttemptSpec spec = job.Spec("run", 1);
  WriteText(spec.run_dir() + "/run.lock", "");
  spec.mutable_config()->mutable_config()->mutable_output()->set_path(spec.run_dir() + "/out");
  Ran ran;
  RunAttempt(spec, &ran);
  ASSERT_EQ(ran.record.end(), v1::Attempt::FAILED);
  EXPECT_EQ(ran.record.error().code(), "OUTPUT_INVALID");
  EXPECT_TRUE(ran.events.Losses().empty());
}

TEST(RunJobTest, RefusesPipesAndFoldersAsInputsAtOnce) {
  const std::vector<std::pair<std::string, std::function<void(v1::JobConfig&, const std::string&)>>>
      cases = {
          {"data.train",
           [](v1::JobConfig& c, const std::string& p) {
             c.mutable_data()->mutable_train(0)->set_path(p);
           }},
          {"data.validation",
           [](v1::JobConfig& c, const std::string& p) { c.mutable_data()->set_validation(p); }},
          {"samples.prompts",
           [](v1::JobConfig& c, const std::string& p) { c.mutable_samples()->set_prompts(p); }},
          {"data.chat_template",
           [](v1::JobConfig& c, const std::string& p) { c.mutable_data()->set_chat_template(p); }},
          {"model.path",
           [](v1::JobConfig& c, const std::string& p) { c.mutable_model()->set_path(p); }},
      };
  for (const auto& [name, set] : cases) {
    TempDir folder;
    TinyJob job(folder);
    const std::string pipe = folder / "pipe.jinja";
    ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
    internal::AttemptSpec spec = job.Spec("run", 1);
    set(*spec.mutable_config()->mutable_config(), pipe);
    Ran ran;
    RunAttempt(spec, &ran);
    ASSERT_EQ(ran.record.end(), v1::Attempt::FAILED) << name;
    EXPECT_FALSE(ran.record.error().retryable()) << name;
    EXPECT_THAT(ran.record.error().message(), HasSubstr("pipe")) << name;
    EXPECT_TRUE(ran.events.Losses().empty()) << name;
  }
}

TEST(RunJobTest, FailsOnNonFiniteLossWithConversations) {
  TempDir folder;
  TinyJob job(folder);
  const std::string weights = folder / "model/model.safetensors";
  std::string bytes = ReadText(weights);
  // Finite, but the logits overflow.
  const float largest = std::numeric_limits<float>::max();
  for (size_t i = 1; i <= 32; ++i)
    std::memcpy(bytes.data() + bytes.size() - i * sizeof(largest), &largest, sizeof(largest));
  WriteText(weights, bytes);
  const internal::AttemptSpec spec = job.Spec("run", 1, "data: {shuffle: false}");
  Ran ran;
  RunAttempt(spec, &ran);
  ASSERT_EQ(ran.record.end(), v1::Attempt::FAILED);
  EXPECT_EQ(ran.record.error().code(), "NON_FINITE");
  EXPECT_EQ(ran.record.error().cause(), v1::JobError::NUMERICS);
  EXPECT_FALSE(ran.record.error().retryable());
  EXPECT_THAT(ran.record.error().message(),
              HasSubstr("conversations of the step (counted from 0: 0, 1, 2, 3)"));
  EXPECT_THAT(ran.record.error().message(), HasSubstr("There is no checkpoint yet"));
  EXPECT_FALSE(ran.record.has_last_checkpoint());
  EXPECT_TRUE(ran.events.Losses().empty());
  EXPECT_EQ(ran.events.CountNotices("NON_FINITE"), 1);
  const auto& events = ran.events.events();
  EXPECT_TRUE(std::any_of(events.begin(), events.end(), [](const v1::Event& event) {
    return event.alert().type() == "non_finite" && event.alert().active();
  }));
}

TEST(RunJobTest, NamesTheStartWeightThatIsNotFinite) {
  TempDir folder;
  TinyJob job(folder);
  const std::string weights = folder / "model/model.safetensors";
  std::string bytes = ReadText(weights);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::memcpy(bytes.data() + bytes.size() - sizeof(nan), &nan, sizeof(nan));
  WriteText(weights, bytes);
  for (const char* freeze : {"", "train: {freeze: [model.norm.weight]}"}) {
    Ran ran;
    RunAttempt(job.Spec("run", 1, freeze), &ran);
    ASSERT_EQ(ran.record.end(), v1::Attempt::FAILED);
    EXPECT_EQ(ran.record.error().code(), "MODEL_INVALID");
    EXPECT_FALSE(ran.record.error().retryable());
    EXPECT_THAT(
        ran.record.error().message(),
        HasSubstr(weights + ": tensor \"model.norm.weight\" holds NaN or infinity (first at "
                            "element 31"));
  }
}

TEST(RunJobTest, RefusesWarmUpLongerThanTheEpochs) {
  TempDir folder;
  TinyJob job(folder);
  Ran ran;
  RunAttempt(job.Spec("run", 1, "schedule: {warmup_steps: 12}"), &ran);
  ASSERT_EQ(ran.record.end(), v1::Attempt::FAILED);
  EXPECT_EQ(ran.record.error().code(), "CONFIGURATION_INVALID");
  EXPECT_THAT(ran.record.error().message(), HasSubstr("12 steps of warm-up do not end before"));
}

TEST(RunJobTest, OutputFolderGetsTheModesOfTheUsersUmask) {
  TempDir folder;
  TinyJob job(folder);
  const std::string output = folder / "models/out";
  internal::AttemptSpec spec =
      job.Spec("run", 1, absl::StrCat("train: {max_steps: 3}\noutput: {path: ", output, "}"));
  spec.set_output_umask(027);
  Ran ran;
  const mode_t before = umask(077);
  RunAttempt(spec, &ran);
  EXPECT_EQ(umask(before), static_cast<mode_t>(077));
  ASSERT_EQ(ran.record.end(), v1::Attempt::COMPLETED) << ran.record.error().message();
  const auto mode = [](const std::string& path) {
    return static_cast<int>(std::filesystem::status(path).permissions()) & 0777;
  };
  EXPECT_EQ(mode(folder / "models"), 0750);
  EXPECT_EQ(mode(output), 0750);
  for (const auto& entry : std::filesystem::directory_iterator(output))
    EXPECT_EQ(mode(entry.path().string()), 0640) << entry.path();
  EXPECT_EQ(mode(spec.run_dir() + "/final"), 0700);
  EXPECT_EQ(mode(spec.run_dir() + "/final/model.safetensors"), 0600);
}

TEST(RunJobTest, EmitsSamplesBeforeAndAfterTraining) {
  TempDir folder;
  TinyJob job(folder);
  WriteText(folder / "prompts.jsonl",
            "{\"prompt\": \"What comes after 3?\", \"expected\": \"4\"}\n"
            "{\"messages\": [{\"role\": \"user\", \"content\": \"And 4?\"}, {\"role\": "
            "\"assistant\", \"content\": \"5\"}]}\n");
  Ran ran;
  RunAttempt(job.Spec("run", 1,
                      absl::StrCat("train: {max_steps: 3}\nsamples: {prompts: ",
                                   folder / "prompts.jsonl", ", max_tokens: 4}")),
             &ran);
  ASSERT_EQ(ran.record.end(), v1::Attempt::COMPLETED) << ran.record.error().message();
  std::vector<std::string> seen;
  for (const v1::Event& event : ran.events.events()) {
    if (event.has_sample())
      seen.push_back(absl::StrCat(event.sample().step(), " ", event.sample().prompt(), " ",
                                  event.sample().expected()));
  }
  EXPECT_THAT(seen, ElementsAre("0 What comes after 3? 4", "0 And 4? 5", "3 What comes after 3? 4",
                                "3 And 4? 5"));
}

TEST(RunJobTest, ReportsMissingDevice) {
  TempDir folder;
  TinyJob job(folder);
  internal::AttemptSpec spec = job.Spec("run", 1);
  spec.set_devices(0, "cuda:7");
  Ran ran;
  RunAttempt(spec, &ran);
  ASSERT_EQ(ran.record.end(), v1::Attempt::FAILED);
  EXPECT_EQ(ran.record.error().code(), "NO_SUCH_DEVICE");
  EXPECT_THAT(ran.record.error().message(), HasSubstr("no such device: cuda:7"));
}

}  // namespace
}  // namespace trainerd::engine
