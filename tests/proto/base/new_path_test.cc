// SPDX-License-Identifier: Apache-2.0
#include "proto/base/new_path.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "proto/base/atomic_file.h"
#include "proto/base/directory.h"
#include "tests/temp_dir.h"

namespace trainerd {
namespace {

using ::testing::HasSubstr;

TEST(NewPathTest, PublishesFilesAndFolders) {
  const TempDir dir;
  for (const std::string name : {"file", "a/b/folder/"}) {
    auto path = NewPath::Create(dir / name);
    ASSERT_TRUE(path.ok()) << path.status();
    EXPECT_FALSE(NameExists(path->temporary()));
    if (name == "file") {
      ASSERT_TRUE(WriteFileAtomic(path->temporary(), "x").ok());
    } else {
      ASSERT_TRUE(std::filesystem::create_directory(path->temporary()));
    }
    EXPECT_FALSE(NameExists(dir / name));
    ASSERT_TRUE(path->Publish().ok());
    EXPECT_TRUE(PathExists(dir / name));
    EXPECT_FALSE(NameExists(path->temporary()));
  }
  EXPECT_EQ(*ReadFile(dir / "file"), "x");
}

TEST(NewPathTest, RemovesWhatIsNotPublished) {
  const TempDir dir;
  std::string temporary;
  {
    auto path = NewPath::Create(dir / "new");
    ASSERT_TRUE(path.ok());
    temporary = path->temporary();
    ASSERT_TRUE(MakeDirectories(temporary + "/deep").ok());
  }
  EXPECT_FALSE(NameExists(temporary));
  EXPECT_TRUE(ListDirectory(dir.path())->empty());
}

TEST(NewPathTest, RemovesWhatAKilledProcessLeft) {
  const TempDir dir;
  const pid_t child = fork();
  if (child == 0) {
    auto path = NewPath::Create(dir / "new");
    const bool made = path.ok() && MakeDirectories(path->temporary() + "/deep").ok() &&
                      MakeDirectories(path->temporary() + "-merged").ok();
    raise(made ? SIGKILL : SIGTERM);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_EQ(WTERMSIG(status), SIGKILL);
  EXPECT_EQ(ListDirectory(dir.path())->size(), 3U) << "two folders and the lock";
  dir.Write(".tmp-of-another", "kept");
  {
    auto path = NewPath::Create(dir / "new");
    ASSERT_TRUE(path.ok()) << path.status();
    EXPECT_EQ(ListDirectory(dir.path())->size(), 2U) << "the lock and the other file";
  }
  EXPECT_EQ(ListDirectory(dir.path())->size(), 1U);
}

TEST(NewPathTest, LeavesWhatIsInUse) {
  const TempDir dir;
  auto first = NewPath::Create(dir / "new");
  ASSERT_TRUE(first.ok() && MakeDirectories(first->temporary()).ok());
  const absl::Status second = NewPath::Create(dir / "new").status();
  EXPECT_TRUE(absl::IsAlreadyExists(second)) << second;
  EXPECT_THAT(std::string(second.message()), HasSubstr("another process is writing"));
  ASSERT_TRUE(first->Publish().ok());
  EXPECT_TRUE(IsFolder(dir / "new"));
}

TEST(NewPathTest, NeverReplacesWhatExists) {
  const TempDir dir;
  dir.Write("old", "kept");
  std::filesystem::create_symlink("nowhere", dir / "link");
  for (const char* name : {"old", "link"}) {
    const absl::Status status = NewPath::Create(dir / name).status();
    EXPECT_TRUE(absl::IsAlreadyExists(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(dir / name));
  }
  // Another process creates it meanwhile: a file, or an empty folder, which rename would replace.
  auto path = NewPath::Create(dir / "new");
  ASSERT_TRUE(path.ok());
  ASSERT_TRUE(MakeDirectories(path->temporary()).ok());
  ASSERT_TRUE(MakeDirectories(dir / "new").ok());
  EXPECT_TRUE(absl::IsAlreadyExists(path->Publish()));
  EXPECT_TRUE(PathExists(dir / "new"));
}

}  // namespace
}  // namespace trainerd
