// SPDX-License-Identifier: Apache-2.0
// Children that behave and misbehave, written as shell scripts; the client of trainerd-worker
// devices over them.
#include "server/runs/child_process.h"

#include <signal.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/runs/devices.h"

namespace trainerd::server {
namespace {

using ::testing::HasSubstr;

std::vector<std::string> Shell(const std::string& script) { return {"/bin/sh", "-c", script}; }

TEST(ChildProcessTest, GivesExitCodeAndBothOutputs) {
  const ChildResult result = RunChild({.argv = Shell("echo out; echo err >&2; exit 3")}).value();
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_EQ(result.out, "out\n");
  EXPECT_EQ(result.err, "err\n");
}

TEST(ChildProcessTest, GivesTheSignal) {
  const ChildResult result = RunChild({.argv = Shell("kill -9 $$")}).value();
  EXPECT_EQ(result.signal, SIGKILL);
  EXPECT_EQ(result.exit_code, -1);
}

TEST(ChildProcessTest, HandsOverInputThatIsNoFile) {
  const std::string input(3 << 20, 'i');
  const ChildResult result =
      RunChild({.argv = Shell("wc -c < /proc/self/fd/3"), .input = input}).value();
  EXPECT_EQ(result.out, std::to_string(input.size()) + "\n");
}

TEST(ChildProcessTest, InheritsNoOtherDescriptor) {
  const ChildResult result = RunChild({.argv = Shell("ls /proc/self/fd | wc -l")}).value();
  EXPECT_EQ(result.out, "4\n");  // 0, 1, 2 and ls's own folder
}

TEST(ChildProcessTest, KillsAtTheDeadlineWithEverythingItStarted) {
  const absl::Status status =
      RunChild({.argv = Shell("sleep 600 & sleep 600"), .timeout = absl::Milliseconds(50)})
          .status();
  EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
}

TEST(ChildProcessTest, BoundsItsOutput) {
  const absl::Status status =
      RunChild({.argv = Shell("yes"), .max_output_bytes = 1 << 20}).status();
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
}

TEST(ChildProcessTest, AMissingProgramIsNotFound) {
  const absl::Status status = RunChild({.argv = {"/nonexistent/program"}}).status();
  EXPECT_TRUE(absl::IsNotFound(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("/nonexistent/program"));
}

// A program of these lines.
class ScriptTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/trainerd-script-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    dir_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  std::string Script(const std::string& lines) {
    const std::string path = dir_ + "/program";
    std::ofstream(path) << "#!/bin/sh\n" << lines;
    chmod(path.c_str(), 0700);
    return path;
  }
  std::string dir_;
};

TEST_F(ScriptTest, DevicesAreReadFromJson) {
  const std::string program = Script(
      "test \"$1\" = devices || exit 9\n"
      "echo '{\"devices\": [{\"name\": \"cpu\", \"memory_bytes\": \"12\"}, {\"name\": \"cuda:0\", "
      "\"unavailable\": \"no driver\"}]}'\n");
  const std::vector<v1::Device> devices = QueryDevices(program, absl::Seconds(30)).value();
  ASSERT_EQ(devices.size(), 2u);
  EXPECT_EQ(devices[0].memory_bytes(), 12);
  EXPECT_EQ(devices[1].unavailable(), "no driver");
}

TEST_F(ScriptTest, DevicesOfABrokenWorkerAreAnErrorWithItsWords) {
  const absl::Status status =
      QueryDevices(Script("echo libfoo.so is missing >&2; exit 127\n"), absl::Seconds(30)).status();
  EXPECT_THAT(std::string(status.message()), HasSubstr("libfoo.so is missing"));
  EXPECT_FALSE(QueryDevices(Script("echo no json\n"), absl::Seconds(30)).ok());
}

}  // namespace
}  // namespace trainerd::server
