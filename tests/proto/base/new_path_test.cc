// SPDX-License-Identifier: Apache-2.0
#include "proto/base/new_path.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

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
