// SPDX-License-Identifier: Apache-2.0
// Whole jobs of a tiny model: the copy of the final model in output.path.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
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
using testing::WriteText;

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
TEST(RunJobOutputTest, OutputThatCannotBePublishedIsReportedAsItIsAndKeepsFinalModel) {
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

TEST(RunJobOutputTest, PublishesUnderLongestLegalName) {
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

TEST(RunJobOutputTest, RefusesOutputInRunDirectoryBeforeTraining) {
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
