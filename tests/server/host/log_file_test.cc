// SPDX-License-Identifier: Apache-2.0
// The log file: rotation, opening again after a rename by another program, errors of the disk.
#include "server/host/log_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "proto/base/atomic_file.h"
#include "spdlog/spdlog.h"
#include "tests/temp_dir.h"

namespace trainerd::server {
namespace {

using ::testing::HasSubstr;

class LogFileTest : public ::testing::Test {
 protected:
  std::unique_ptr<LogFile> Open(LogFile::Limits limits = {}) {
    auto file = LogFile::Open(path_, limits);
    EXPECT_TRUE(file.ok()) << file.status();
    return *std::move(file);
  }
  std::string Text(const std::string& suffix = "") { return *ReadFile(path_ + suffix); }
  std::set<std::string> Names() {
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(dir_.path()))
      names.insert(entry.path().filename());
    return names;
  }

  TempDir dir_;
  const std::string path_ = dir_ / "d.log";
};

TEST_F(LogFileTest, AppendsToWhatIsThereForItsOwnerOnly) {
  std::ofstream(path_) << "old\n";
  Open()->Write("new\n");
  EXPECT_EQ(Text(), "old\nnew\n");
  std::filesystem::remove(path_);
  Open()->Write("x\n");
  struct stat status;
  ASSERT_EQ(::stat(path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 077, 0u);
}

TEST_F(LogFileTest, KeepsTheNewestFilesInOrder) {
  const auto file = Open({.bytes = 10, .files = 3});
  for (const char* line : {"11111111\n", "22222222\n", "33333333\n", "44444444\n", "55555555\n"})
    file->Write(line);
  EXPECT_EQ(Names(), (std::set<std::string>{"d.log", "d.log.1", "d.log.2"}));
  EXPECT_EQ(Text(), "55555555\n");
  EXPECT_EQ(Text(".1"), "44444444\n");
  EXPECT_EQ(Text(".2"), "33333333\n");
}

TEST_F(LogFileTest, CountsWhatAnEarlierDaemonWrote) {
  Open({.bytes = 10})->Write("1234567\n");
  const auto file = Open({.bytes = 10});
  file->Write("89\n");
  EXPECT_EQ(Text(".1"), "1234567\n");
  EXPECT_EQ(Text(), "89\n");
}

TEST_F(LogFileTest, ALineLargerThanAFileIsWrittenWhole) {
  const auto file = Open({.bytes = 10, .files = 2});
  const std::string line(100, 'x');
  file->Write(line);
  EXPECT_EQ(Text(), line);
  EXPECT_EQ(Names().size(), 1u) << "an empty file is not rotated";
  file->Write("y\n");
  EXPECT_EQ(Text(".1"), line);
}

TEST_F(LogFileTest, OpensAgainAfterARename) {
  const auto file = Open();
  file->Write("before\n");
  std::filesystem::rename(path_, dir_ / "moved");
  file->Write("meanwhile\n");
  EXPECT_FALSE(std::filesystem::exists(path_));
  ASSERT_TRUE(file->Reopen().ok());
  file->Write("after\n");
  EXPECT_EQ(Text(), "after\n");
  EXPECT_EQ(*ReadFile(dir_ / "moved"), "before\nmeanwhile\n");
}

TEST_F(LogFileTest, ARenamedFileIsNotRotatedOverAnother) {
  const auto file = Open({.bytes = 10, .files = 3});
  file->Write("12345678\n");
  std::filesystem::rename(path_, dir_ / "d.log.1");
  file->Write("next\n");
  EXPECT_EQ(Text(), "next\n");
  EXPECT_EQ(Text(".1"), "12345678\n");
  EXPECT_EQ(Names().size(), 2u);
}

TEST_F(LogFileTest, KeepsTheOldFileWhereThePathCannotBeOpened) {
  const auto file = Open({.bytes = 10, .files = 2});
  file->Write("1234567\n");
  std::filesystem::rename(path_, dir_ / "kept");
  std::filesystem::create_directory(path_);
  EXPECT_FALSE(file->Reopen().ok());
  for (int i = 0; i < 20; ++i) file->Write("12345678\n");
  EXPECT_EQ(ReadFile(dir_ / "kept")->size(), 188u) << "nothing is lost";
}

TEST_F(LogFileTest, AFullDiskDropsAndCountsLines) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "there is no /dev/full";
  std::filesystem::create_symlink("/dev/full", path_);
  const auto file = Open();
  for (int i = 0; i < 3; ++i) file->Write("lost\n");
  EXPECT_EQ(file->dropped(), 3);
  std::filesystem::remove(path_);
  ASSERT_TRUE(file->Reopen().ok());
  file->Write("again\n");
  EXPECT_THAT(Text(), HasSubstr("3 lines could not be written"));
  EXPECT_THAT(Text(), ::testing::EndsWith("\nagain\n"));
  EXPECT_EQ(file->dropped(), 0);
}

TEST_F(LogFileTest, RefusesWhatIsNoFile) {
  for (const std::string& path : {dir_.path(), dir_ / "no/such/d.log", std::string("")}) {
    const auto file = LogFile::Open(path);
    ASSERT_FALSE(file.ok()) << path;
    EXPECT_THAT(std::string(file.status().message()), HasSubstr(path));
  }
  ASSERT_EQ(::mkfifo(path_.c_str(), 0600), 0);
  EXPECT_FALSE(LogFile::Open(path_).ok());
}

TEST_F(LogFileTest, SpdlogWritesAndOpensItAgain) {
  const auto sink = std::make_shared<LogFileSink>(Open());
  spdlog::logger logger("test", sink);
  logger.set_pattern("%l %v");
  logger.info("one");
  std::filesystem::rename(path_, dir_ / "moved");
  ASSERT_TRUE(sink->Reopen().ok());
  logger.warn("two");
  EXPECT_EQ(*ReadFile(dir_ / "moved"), "info one\n");
  EXPECT_EQ(Text(), "warning two\n");
}

}  // namespace
}  // namespace trainerd::server
