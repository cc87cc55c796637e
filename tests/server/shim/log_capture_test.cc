// SPDX-License-Identifier: Apache-2.0
// Rotation with absolute offsets, and bytes lost on a full disk (RLIMIT_FSIZE).
#include "server/shim/log_capture.h"

#include <signal.h>
#include <sys/resource.h>

#include <filesystem>
#include <set>

#include "gtest/gtest.h"
#include "proto/base/atomic_file.h"
#include "tests/temp_dir.h"

namespace trainerd::server {
namespace {

class LogCaptureTest : public ::testing::Test {
 protected:
  std::set<std::string> Names() const {
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(dir_)) {
      names.insert(entry.path().filename().string());
    }
    return names;
  }
  TempDir temp_;
  const std::string dir_ = temp_.path();
};

TEST_F(LogCaptureTest, NamesFilesByOffsetAndRemovesTheOldest) {
  LogCapture log({.dir = dir_, .file_bytes = 10, .files = 2});
  log.Write("0123456789abcdefghijKLM");
  EXPECT_EQ(Names(), (std::set<std::string>{"worker.00000000000000000010.log",
                                            "worker.00000000000000000020.log"}));
  EXPECT_EQ(ReadFile(dir_ + "/worker.00000000000000000010.log").value(), "abcdefghij");
  log.Write("NOPQRSTUV");
  EXPECT_EQ(ReadFile(dir_ + "/worker.00000000000000000030.log").value(), "UV");
  EXPECT_EQ(Names().size(), 2u);
  EXPECT_EQ(log.bytes_lost(), 0);
}

TEST_F(LogCaptureTest, CountsTheBytesThatAFullDiskRejects) {
  LogCapture log({.dir = dir_, .file_bytes = 100, .files = 2});
  signal(SIGXFSZ, SIG_IGN);
  rlimit before;
  getrlimit(RLIMIT_FSIZE, &before);
  rlimit limit = before;
  limit.rlim_cur = 5;
  setrlimit(RLIMIT_FSIZE, &limit);
  log.Write("12345678");
  setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_EQ(log.bytes_lost(), 3);
  log.Write("next");
  EXPECT_EQ(ReadFile(dir_ + "/worker.00000000000000000000.log").value(), "12345next");
  EXPECT_EQ(log.Excerpt(), "12345678next");
}

TEST_F(LogCaptureTest, ExcerptsTheLastWholeLinesAsUtf8) {
  LogCapture log({.dir = dir_, .excerpt_bytes = 20});
  for (int i = 0; i < 1000; ++i) log.Write("line " + std::to_string(i) + "\n");
  EXPECT_EQ(log.Excerpt(), "line 998\nline 999\n");
  log.Write("\xff\xc3\xa4\n");
  EXPECT_EQ(log.Excerpt(), "line 999\n?\xc3\xa4\n");
}

}  // namespace
}  // namespace trainerd::server
