// SPDX-License-Identifier: Apache-2.0
// Whole jobs of a tiny model: the copy of the final model in output.path.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <string>

#include "engine/run_job.h"
#include "proto/contract/run_dir/manifest.h"
#include "tests/engine/train/tiny_run.h"

namespace trainerd::engine {
namespace {

using testing::FileHash;
using testing::FinalHash;
using ::testing::HasSubstr;
using testing::Ran;
using testing::RunAttempt;
using testing::TinyJob;

TEST(RunJobOutputTest, RefusesOutputThatCannotBeCreatedBeforeTraining) {
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

TEST(RunJobOutputTest, CopiesFinalModelAndRefusesForeignFolder) {
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
  EXPECT_FALSE(std::filesystem::exists(output + ".tmp-0123456789ab"));
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

TEST(RunJobOutputTest, OutputFolderGetsTheModesOfTheUsersUmask) {
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

}  // namespace
}  // namespace trainerd::engine
