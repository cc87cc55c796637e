// SPDX-License-Identifier: Apache-2.0
// Real folders; each refused place is one that a job once trained for before it was refused.
#include "proto/contract/run_dir/output_path.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/match.h"
#include "proto/contract/run_dir/manifest.h"
#include "tests/temp_dir.h"

namespace trainerd {
namespace {

class OutputPathTest : public ::testing::Test {
 protected:
  OutputPathTest() {
    dir_.Write("state/trainerd.lock", "1\n");
    dir_.Write("state/trainerd.db", "");
    dir_.Write("state/runs/4f/run.lock", "");
    dir_.Write("by_hand/run.lock", "");
    dir_.Write("by_hand/publisher", "1\n");
    dir_.Write("project/run.lock", "");
    dir_.Write("file", "x");
    std::filesystem::create_directories(dir_ / "empty");
    Link("state", "to_state");
    Link("state/runs/4f", "to_run");
    Link("nothing", "dangling");
    Link("empty", "to_empty");
    Link("/proc", "to_proc");
    Link("loop", "loop");
  }
  void Link(const std::string& target, const std::string& name) {
    EXPECT_EQ(symlink(target.c_str(), (dir_ / name).c_str()), 0);
  }
  void WriteManifest(const std::string& folder, const std::string& kind) {
    Manifest manifest{.job = "jobs/a", .kind = kind};
    manifest.create_time = "2026-11-24T07:00:00Z";
    dir_.Write(folder + "/MANIFEST.json", ManifestToJson(manifest));
  }

  TempDir dir_;
};

TEST_F(OutputPathTest, AcceptsFoldersThatCanBeCreated) {
  for (const std::string& path :
       {dir_ / "out", dir_ / "a/b/c/out", dir_ / "empty/out", dir_ / "to_empty/out",
        dir_ / "project/out", dir_ / std::string(255, 'x'), dir_ / "ünïcode 名前",
        dir_ / "state.old/out", dir_ / "to_state/../out"}) {
    const absl::Status status = CheckOutputPath(path, "jobs/a");
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_FALSE(std::filesystem::exists(path)) << path;
  }
  EXPECT_FALSE(std::filesystem::exists(dir_ / "a"));
}

TEST_F(OutputPathTest, RefusesPlacesWhereNoneCanBeCreated) {
  std::string deep = dir_ / "deep";
  while (deep.size() < 3900) deep += "/" + std::string(200, 'x');
  for (const std::string& path :
       {dir_ / "file/out", dir_ / "file/a/out", dir_ / "dangling/out", dir_ / "dangling/a/out",
        dir_ / "loop/out", dir_ / std::string(256, 'x'), dir_ / (std::string(256, 'x') + "/out"),
        std::string("/proc/out"), std::string("/proc/self/out"), std::string("/sys/out"),
        std::string("/sys/kernel/a/out"), dir_ / "to_proc/out", dir_ / "to_proc/sys/out", deep}) {
    const absl::Status status = CheckOutputPath(path, "jobs/a");
    EXPECT_FALSE(status.ok()) << path;
    EXPECT_TRUE(absl::StrContains(status.message(), "cannot be created")) << status;
    EXPECT_TRUE(absl::StartsWith(status.message(), path)) << status;
  }
}

TEST_F(OutputPathTest, RefusesStateAndRunDirectories) {
  for (const char* path :
       {"state/out", "state/a/b/out", "state/trainerd.db-wal", "state/trainerd.db.v9.backup",
        "state/trainerd.sock", "state/token", "state/runs/4f/final", "state/runs/new",
        "to_state/out", "to_state/token", "to_run/out", "to_run/../out", "by_hand/out",
        "by_hand/checkpoints/x", "to_empty/../state/out"}) {
    const absl::Status status = CheckOutputPath(dir_ / path, "jobs/a");
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << path << ": " << status;
    EXPECT_TRUE(absl::StrContains(status.message(), "only trainerd itself")) << status;
  }
}

TEST_F(OutputPathTest, RefusesWhatExistsButOwnFinalModel) {
  WriteManifest("mine", "final");
  EXPECT_TRUE(CheckOutputPath(dir_ / "mine", "jobs/a").ok());
  WriteManifest("checkpoint", "checkpoint");
  ASSERT_EQ(mkfifo((dir_ / "pipe").c_str(), 0600), 0);
  std::filesystem::create_directories(dir_ / "strange");
  ASSERT_EQ(mkfifo((dir_ / "strange/MANIFEST.json").c_str(), 0600), 0);
  for (const char* path :
       {"empty", "file", "dangling", "loop", "to_empty", "checkpoint", "pipe", "strange"}) {
    const absl::Status status = CheckOutputPath(dir_ / path, "jobs/a");
    EXPECT_TRUE(absl::StrContains(status.message(), "already exists")) << path << ": " << status;
  }
  EXPECT_FALSE(CheckOutputPath(dir_ / "mine", "jobs/b").ok());
}

TEST_F(OutputPathTest, RefusesFolderThatUserMayNotWriteTo) {
  if (geteuid() == 0) GTEST_SKIP() << "root may write everywhere";
  ASSERT_EQ(chmod((dir_ / "empty").c_str(), 0500), 0);
  EXPECT_TRUE(absl::IsPermissionDenied(CheckOutputPath(dir_ / "empty/out", "jobs/a")));
}

}  // namespace
}  // namespace trainerd
