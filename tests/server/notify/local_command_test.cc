// SPDX-License-Identifier: Apache-2.0
#include "server/notify/local_command.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/time/clock.h"
#include "proto/base/atomic_file.h"
#include "tests/temp_dir.h"

namespace trainerd::server {
namespace {

using ::testing::HasSubstr;

TEST(RunLocalCommandTest, GetsTheInputOnItsStandardInput) {
  TempDir dir;
  const std::string input(300'000, 'x');
  EXPECT_EQ(RunLocalCommand({"/bin/sh", "-c", "cat > " + dir / "out"}, input), "");
  EXPECT_EQ(ReadFile(dir / "out").value_or(""), input);
}

// Arguments are passed as they are: nothing expands or splits them.
TEST(RunLocalCommandTest, StartsNoShell) {
  TempDir dir;
  const std::string odd = dir / "$HOME; touch x *";
  EXPECT_EQ(RunLocalCommand({"/usr/bin/touch", odd}, ""), "");
  EXPECT_TRUE(ReadFile(odd).ok());
}

TEST(RunLocalCommandTest, ReportsHowItFailed) {
  EXPECT_EQ(RunLocalCommand({"/bin/sh", "-c", "exit 3"}, ""), "exit code 3");
  EXPECT_THAT(RunLocalCommand({"/bin/sh", "-c", "kill -9 $$"}, ""), HasSubstr("signal 9"));
  EXPECT_THAT(RunLocalCommand({"/no/such/program"}, ""), HasSubstr("No such file"));
  EXPECT_EQ(RunLocalCommand({"/bin/true"}, std::string(300'000, 'x')), "") << "it reads nothing";
}

// The child of the command would write the file.
TEST(RunLocalCommandTest, KillsItWithItsChildrenAfterTheTimeout) {
  TempDir dir;
  EXPECT_THAT(
      RunLocalCommand({"/bin/sh", "-c", "(sleep 1; touch " + dir / "late" + ") & sleep 1000"}, "",
                      absl::Milliseconds(200)),
      HasSubstr("no exit within 200ms"));
  absl::SleepFor(absl::Seconds(2));
  EXPECT_FALSE(ReadFile(dir / "late").ok());
}

// A child that keeps the standard output open does not delay the result.
TEST(RunLocalCommandTest, WaitsForTheProgramItself) {
  EXPECT_EQ(RunLocalCommand({"/bin/sh", "-c", "sleep 30 & exit 0"}, "", absl::Seconds(20)), "");
}

}  // namespace
}  // namespace trainerd::server
