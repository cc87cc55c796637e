// SPDX-License-Identifier: Apache-2.0
// The resume point follows attempts and steps that manifests state, never times; retention keeps
// the newest.
#include "engine/checkpoint/run_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "engine/checkpoint/folder_writer.h"
#include "tests/engine/train/tiny_run.h"

namespace trainerd::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

void AddCheckpoint(const TempDir& folder, int64_t step, int32_t attempt) {
  auto writer =
      FolderWriter::Create(CheckpointsFolder(folder.path()) + "/" + TemporaryName(attempt, "x"));
  ASSERT_TRUE(writer.ok());
  ASSERT_TRUE((*writer)->WriteText("data", absl::StrCat(step, " ", attempt)).ok());
  const std::string name = CheckpointName({.step = step, .attempt = attempt});
  ASSERT_TRUE((*writer)
                  ->Publish({.job = "jobs/x",
                             .attempt = attempt,
                             .step = step,
                             .kind = "checkpoint",
                             .config_digest_hex = std::string(64, 'a'),
                             .create_time = "2026-01-02T03:04:05Z"},
                            CheckpointsFolder(folder.path()) + "/" + name,
                            [] { return absl::OkStatus(); })
                  .ok());
}

std::vector<std::string> Names(const TempDir& folder) {
  std::vector<std::string> names;
  const auto list = ListCheckpoints(folder.path());
  EXPECT_TRUE(list.ok()) << list.status();
  for (const FoundCheckpoint& found : *list) names.push_back(found.id);
  return names;
}

TEST(RunFolderTest, ResumePointIsHighestStepOfNewestAttempt) {
  TempDir folder;
  // Attempt 2 resumed from step 100 because 200 was damaged then; it is repaired now and must still
  // not win.
  AddCheckpoint(folder, 150, 2);
  AddCheckpoint(folder, 100, 1);
  AddCheckpoint(folder, 200, 1);
  EXPECT_THAT(Names(folder),
              ElementsAre("step-00000150-a2", "step-00000200-a1", "step-00000100-a1"));
  std::vector<std::string> skipped;
  const auto resume = FindResumePoint(folder.path(), &skipped);
  ASSERT_TRUE(resume.ok());
  ASSERT_TRUE(resume->has_value());
  EXPECT_EQ(resume->value().manifest.step, 150);
  EXPECT_TRUE(skipped.empty());
}

TEST(RunFolderTest, SkipsAndNamesDamagedCheckpoint) {
  TempDir folder;
  AddCheckpoint(folder, 100, 1);
  AddCheckpoint(folder, 200, 1);
  testing::WriteText(CheckpointsFolder(folder.path()) + "/step-00000200-a1/data", "200 2");
  std::vector<std::string> skipped;
  const auto resume = FindResumePoint(folder.path(), &skipped);
  ASSERT_TRUE(resume.ok());
  ASSERT_TRUE(resume->has_value());
  EXPECT_EQ(resume->value().manifest.step, 100);
  ASSERT_EQ(skipped.size(), 1u);
  EXPECT_THAT(skipped[0], HasSubstr("step-00000200-a1"));
}

TEST(RunFolderTest, IgnoresFoldersWithWrongNameOrNoManifest) {
  TempDir folder;
  AddCheckpoint(folder, 100, 1);
  std::filesystem::rename(CheckpointsFolder(folder.path()) + "/step-00000100-a1",
                          CheckpointsFolder(folder.path()) + "/step-00000900-a1");
  std::filesystem::create_directories(CheckpointsFolder(folder.path()) + "/step-00000300-a1");
  EXPECT_TRUE(Names(folder).empty());
  std::vector<std::string> skipped;
  EXPECT_FALSE(FindResumePoint(folder.path(), &skipped)->has_value());
}

TEST(RunFolderTest, HasNoResumePointWithoutCheckpoints) {
  TempDir folder;
  std::vector<std::string> skipped;
  const auto resume = FindResumePoint(folder / "new", &skipped);
  ASSERT_TRUE(resume.ok());
  EXPECT_FALSE(resume->has_value());
}

TEST(RunFolderTest, PruningKeepsNewest) {
  TempDir folder;
  for (const int64_t step : {10, 20, 30, 40}) AddCheckpoint(folder, step, 1);
  ASSERT_TRUE(PruneCheckpoints(folder.path(), 2).ok());
  EXPECT_THAT(Names(folder), ElementsAre("step-00000040-a1", "step-00000030-a1"));
  ASSERT_TRUE(PruneCheckpoints(folder.path(), 0).ok());
  EXPECT_THAT(Names(folder), ElementsAre("step-00000040-a1"));
  EXPECT_EQ(
      std::distance(std::filesystem::directory_iterator(CheckpointsFolder(folder.path())), {}), 1);
}

TEST(RunFolderTest, KeepsTemporaryFoldersOfLaterAttempts) {
  TempDir folder;
  for (const char* name : {".tmp-a1-5", ".tmp-a2-5", ".tmp-a3-5"})
    std::filesystem::create_directories(CheckpointsFolder(folder.path()) + "/" + name);
  std::filesystem::create_directories(folder / ".tmp-a1-final");
  ASSERT_TRUE(RemoveTemporaries(folder.path(), 2).ok());
  EXPECT_FALSE(std::filesystem::exists(folder / ".tmp-a1-final"));
  EXPECT_EQ(
      std::distance(std::filesystem::directory_iterator(CheckpointsFolder(folder.path())), {}), 1);
  EXPECT_TRUE(std::filesystem::exists(CheckpointsFolder(folder.path()) + "/.tmp-a3-5"));
}

}  // namespace
}  // namespace trainerd::engine
