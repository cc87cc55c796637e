// SPDX-License-Identifier: Apache-2.0
// Whole jobs of a tiny model that are stopped and resumed, to the same bytes or to an error.
// Expectations come from running the same job without interruption, or from the rules for resuming.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "engine/run_job.h"
#include "proto/contract/run_dir/manifest.h"
#include "tests/engine/model/golden_folder.h"
#include "tests/engine/train/tiny_run.h"

namespace trainerd::engine {
namespace {

using ::testing::ElementsAre;
using testing::FinalHash;
using ::testing::HasSubstr;
using testing::kFreeze;
using testing::kMomentum;
using testing::NoticeText;
using testing::Ran;
using testing::ReadText;
using testing::RunAttempt;
using testing::StopAfterStep;
using testing::TinyJob;
using testing::WriteText;

struct ResumeCase {
  const char* precision;
  const char* packing;
  const char* dtype;  // of the model folder
  const char* name = "";
  const char* train_keys = "";
  const char* sections = "";
  // A golden of tests/golden/model; "": the tiny Llama.
  const char* golden = "";
};

std::string ResumeName(const ::testing::TestParamInfo<ResumeCase>& info) {
  return absl::StrCat(info.param.precision, "_", info.param.packing, "_from_", info.param.dtype,
                      *info.param.name == '\0' ? "" : "_", info.param.name);
}

// The path of the golden's config.json, with the sizes of the test tokenizer.
std::string GoldenConfig(const TempDir& folder, const std::string& name) {
  nlohmann::json config = golden::Read(name)["config"];
  config.update({{"vocab_size", 320}, {"max_position_embeddings", 2048}});
  return folder.Write("golden.json", config.dump());
}

class ResumeTest : public ::testing::TestWithParam<ResumeCase> {};

// Stops after each of several steps (one in the middle of an epoch, one at its end) and resumes.
// All losses and the final weights must equal those of the uninterrupted job bit for bit.
TEST_P(ResumeTest, EndsWithBytesOfUninterruptedJob) {
  TempDir folder;
  const std::string config = *GetParam().golden == '\0'
                                 ? TRAINERD_SOURCE_DIR + "/tests/golden/tiny_model/config.json"
                                 : GoldenConfig(folder, GetParam().golden);
  TinyJob job(folder, GetParam().dtype, config);
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

constexpr char kMuon[] = "optimizer: {type: muon}";
constexpr char kAdamW8bit[] = "optimizer: {type: adamw_8bit}";
INSTANTIATE_TEST_SUITE_P(Muon, ResumeTest,
                         ::testing::Values(ResumeCase{"fp32", "none", "fp32", "muon", "", kMuon},
                                           ResumeCase{"bf16", "bfd", "bf16", "muon", "", kMuon},
                                           ResumeCase{"bf16", "none", "fp32", "muon_freeze",
                                                      kFreeze, kMuon}),
                         ResumeName);
INSTANTIATE_TEST_SUITE_P(
    AdamW8bit, ResumeTest,
    ::testing::Values(ResumeCase{"fp32", "bfd", "bf16", "adamw_8bit", "", kAdamW8bit},
                      ResumeCase{"bf16", "none", "fp32", "adamw_8bit", "", kAdamW8bit},
                      ResumeCase{"fp32", "none", "bf16", "adamw_8bit_freeze", kFreeze, kAdamW8bit}),
    ResumeName);

// A mixture of experts, with and without the load-balancing loss.
INSTANTIATE_TEST_SUITE_P(
    Experts, ResumeTest,
    ::testing::Values(ResumeCase{"fp32", "bfd", "fp32", "experts", "", "", "qwen3_moe"},
                      ResumeCase{"bf16", "none", "bf16", "balanced", "", "", "qwen3_moe_balanced"}),
    ResumeName);

constexpr char kAccumulates[] = ", gradient_accumulation: 2";
constexpr char kOneMicrobatch[] = ", gradient_accumulation: 1";
INSTANTIATE_TEST_SUITE_P(
    PureBf16, ResumeTest,
    ::testing::Values(ResumeCase{"bf16_sr", "none", "fp32", "accumulating", kAccumulates},
                      ResumeCase{"bf16_sr", "bfd", "bf16", "adamw", kOneMicrobatch},
                      ResumeCase{"bf16_sr", "bfd", "bf16", "muon", kOneMicrobatch, kMuon},
                      ResumeCase{"bf16_sr", "none", "fp32", "adamw_8bit", kOneMicrobatch,
                                 kAdamW8bit},
                      ResumeCase{"bf16_sr", "bfd", "bf16", "freeze_sgd", kFreeze, kMomentum}),
    ResumeName);

// The loss of the tokens; and a job that recomputes activations.
INSTANTIATE_TEST_SUITE_P(
    Loss, ResumeTest,
    ::testing::Values(ResumeCase{"fp32", "none", "fp32", "smoothing", ", label_smoothing: 0.1"},
                      ResumeCase{"bf16", "bfd", "bf16", "weighting",
                                 ", label_smoothing: 0.05, token_weighting: {measure: margin}"},
                      ResumeCase{"fp32", "bfd", "fp32", "checkpointing",
                                 ", activation_checkpointing: full"}),
    ResumeName);

// It changes no number, so a resume may change it.
TEST(RunJobResumeTest, ContinuesWithOtherActivationCheckpointing) {
  TempDir folder;
  TinyJob job(folder);
  const internal::AttemptSpec uninterrupted = job.Spec("uninterrupted", 1);
  Ran whole;
  RunAttempt(uninterrupted, &whole);
  ASSERT_EQ(whole.record.end(), v1::Attempt::COMPLETED) << whole.record.error().message();
  EXPECT_EQ(whole.events.CountNotices("ACTIVATION_CHECKPOINTING"), 0);
  Ran first, second, third;
  RunAttempt(job.Spec("run", 1, "train: {activation_checkpointing: full}"), &first,
             StopAfterStep(2, StopMode::kPause));
  RunAttempt(job.Spec("run", 2), &second, StopAfterStep(4, StopMode::kPause));
  const internal::AttemptSpec last =
      job.Spec("run", 3, "train: {activation_checkpointing: selective}");
  RunAttempt(last, &third);
  ASSERT_EQ(third.record.end(), v1::Attempt::COMPLETED) << third.record.error().message();
  EXPECT_EQ(third.record.first_step(), 5);
  EXPECT_THAT(NoticeText(third, "ACTIVATION_CHECKPOINTING"),
              HasSubstr("train.activation_checkpointing: for each token of a microbatch, the"));
  EXPECT_EQ(FinalHash(last), FinalHash(uninterrupted));
}

TEST(RunJobResumeTest, RepeatsStepsAfterKillWithEqualLosses) {
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

TEST(RunJobResumeTest, ResumedJobRunsInterruptedValidationOnce) {
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

TEST(RunJobResumeTest, RefusesResumeWithOtherValuesByName) {
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

TEST(RunJobResumeTest, ReportsChangedLengthAndFollowsIt) {
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

TEST(RunJobResumeTest, OnlySavesFinalModelIfLengthIsReached) {
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

TEST(RunJobResumeTest, RefusesChangedData) {
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

TEST(RunJobResumeTest, NamesDamagedCheckpoint) {
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

TEST(RunJobResumeTest, RemovesTemporaryFoldersOfDeadAttempts) {
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

}  // namespace
}  // namespace trainerd::engine
