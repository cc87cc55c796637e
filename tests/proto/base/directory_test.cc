// SPDX-License-Identifier: Apache-2.0
#include "proto/base/directory.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/temp_dir.h"

namespace trainerd {
namespace {

using ::testing::UnorderedElementsAre;

void Touch(const std::string& path) { std::ofstream(path) << "x"; }

TEST(DirectoryTest, MakesMissingDirectoriesForOwnerOnly) {
  const TempDir dir;
  ASSERT_TRUE(MakeDirectories(dir / "a/b/c").ok());
  EXPECT_TRUE(MakeDirectories(dir / "a/b/c").ok());
  struct stat info;
  ASSERT_EQ(stat((dir / "a/b").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
}

TEST(DirectoryTest, RefusesToMakeDirectoryInPlaceOfFile) {
  const TempDir dir;
  Touch(dir / "a");
  EXPECT_TRUE(absl::IsAlreadyExists(MakeDirectories(dir / "a")));
  EXPECT_FALSE(MakeDirectories(dir / "a/b").ok());
}

TEST(DirectoryTest, ListsAllNames) {
  const TempDir dir;
  EXPECT_EQ(ListDirectory(dir.path()).value().size(), 0u);
  Touch(dir / "one");
  Touch(dir / ".hidden");
  ASSERT_TRUE(MakeDirectories(dir / "two/three").ok());
  EXPECT_THAT(ListDirectory(dir.path()).value(), UnorderedElementsAre("one", ".hidden", "two"));
  EXPECT_TRUE(absl::IsNotFound(ListDirectory(dir / "none").status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(ListDirectory(dir / "one").status()));
}

TEST(DirectoryTest, RemovesTreesAndIgnoresMissingPaths) {
  const TempDir dir;
  ASSERT_TRUE(MakeDirectories(dir / "a/b").ok());
  Touch(dir / "a/b/c");
  EXPECT_TRUE(RemoveAll(dir / "a").ok());
  EXPECT_FALSE(std::filesystem::exists(dir / "a"));
  EXPECT_TRUE(RemoveAll(dir / "a").ok());
}

TEST(DirectoryTest, RemovesThroughOtherNameAndFinishesInterruptedRemoval) {
  const TempDir dir;
  ASSERT_TRUE(MakeDirectories(dir / "data").ok());
  Touch(dir / "data/new");
  // What a crash left.
  ASSERT_TRUE(MakeDirectories(dir / "trash/data").ok());
  Touch(dir / "trash/data/old");
  EXPECT_TRUE(RemoveThrough(dir / "data", dir / "trash/data").ok());
  EXPECT_THAT(ListDirectory(dir.path()).value(), UnorderedElementsAre("trash"));
  EXPECT_EQ(ListDirectory(dir / "trash").value().size(), 0u);

  ASSERT_TRUE(MakeDirectories(dir / "trash/data").ok());
  EXPECT_TRUE(RemoveThrough(dir / "data", dir / "trash/data").ok());
  EXPECT_EQ(ListDirectory(dir / "trash").value().size(), 0u);
}

TEST(DirectoryTest, ReportsFreeSpaceOfNearestExistingParent) {
  const TempDir dir;
  EXPECT_GT(FreeBytes(dir.path()).value(), 0);
  EXPECT_GT(FreeBytes(dir / "not/there/yet").value(), 0);
  EXPECT_GT(FreeBytes("relative/and/absent").value(), 0);
  // A file system of another size than the root's.
  EXPECT_EQ(FreeBytes("/proc/none/here").value(), FreeBytes("/proc").value());
  EXPECT_EQ(FreeBytes("/proc").value(), 0);
}

TEST(DirectoryTest, ComparesFileSystemsOfNearestExistingParents) {
  const TempDir dir;
  EXPECT_TRUE(AreOnSameFileSystem(dir.path(), dir / "not/there/yet"));
  EXPECT_TRUE(AreOnSameFileSystem("/proc/none/here", "/proc/self"));
  EXPECT_FALSE(AreOnSameFileSystem(dir / "not/there/yet", "/proc/none/here"));
}

TEST(DirectoryTest, FindsWhetherAFolderCanBeCreated) {
  const TempDir dir;
  EXPECT_TRUE(CheckCreatable(dir / "not/there/yet").ok());
  EXPECT_EQ(ListDirectory(dir.path()).value().size(), 0u) << "the trial is removed";
  Touch(dir / "file");
  const absl::Status below_file = CheckCreatable(dir / "file/out");
  EXPECT_TRUE(absl::IsFailedPrecondition(below_file)) << below_file;
  EXPECT_NE(below_file.message().find(dir / "file"), std::string::npos);
  EXPECT_FALSE(CheckCreatable(dir / "file/deep/out").ok());
  EXPECT_FALSE(CheckCreatable(dir / std::string(300, 'x')).ok()) << "the name is too long";
  // Nobody can create files there, root included.
  EXPECT_FALSE(CheckCreatable("/proc/out/model").ok());
}

TEST(DirectoryTest, ResolvesLinksAlsoIntoNothing) {
  TempDir dir;
  const std::string root = std::filesystem::canonical(dir.path());
  dir.Write("real/file", "x");
  const auto link = [&](const std::string& target, const std::string& name) {
    ASSERT_EQ(symlink(target.c_str(), (root + "/" + name).c_str()), 0);
  };
  link("real", "relative");
  link(root + "/real", "absolute");
  link("relative", "chain");
  link("nothing/below", "dangling");
  link("/nowhere/at/all", "dangling_absolute");
  link("..", "real/up");
  link("loop", "loop");
  link("/", "top");
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"real/file", "real/file"},
      {"relative/file", "real/file"},
      {"absolute/file", "real/file"},
      {"chain/file", "real/file"},
      {"chain/none/deeper", "real/none/deeper"},
      {"dangling", "nothing/below"},
      {"dangling/x", "nothing/below/x"},
      {"relative/up/real/file", "real/file"},
      {"relative/..", ""},
      {"real/./file", "real/file"},
      {"real/file/x", "real/file/x"},
  };
  for (const auto& [path, resolved] : cases) {
    EXPECT_EQ(ResolveLinks(root + "/" + path), resolved.empty() ? root : root + "/" + resolved)
        << path;
  }
  EXPECT_EQ(ResolveLinks(root + "/dangling_absolute/x"), "/nowhere/at/all/x");
  EXPECT_EQ(ResolveLinks(root + "/top/nowhere"), "/nowhere");
  EXPECT_EQ(ResolveLinks("/.."), "/");
  EXPECT_EQ(ResolveLinks(root + "/loop/x"), root + "/loop/x");
}

TEST(DirectoryTest, IsWithinComparesWholeNames) {
  EXPECT_TRUE(IsWithin("/a/b", "/a"));
  EXPECT_TRUE(IsWithin("/a", "/a"));
  EXPECT_TRUE(IsWithin("/a", "/"));
  EXPECT_FALSE(IsWithin("/ab", "/a"));
  EXPECT_FALSE(IsWithin("/", "/a"));
}

TEST(DirectoryTest, CheckCreatableRefusesLinkToNothing) {
  TempDir dir;
  ASSERT_EQ(symlink("nothing", (dir / "link").c_str()), 0);
  EXPECT_TRUE(absl::IsFailedPrecondition(CheckCreatable(dir / "link/out")));
  EXPECT_TRUE(absl::IsFailedPrecondition(CheckCreatable(dir / "link/a/b/out")));
}

}  // namespace
}  // namespace trainerd
