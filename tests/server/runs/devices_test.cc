// SPDX-License-Identifier: Apache-2.0
// `trainerd-worker devices` is a shell script here, once well-behaved and once broken.
#include "server/runs/devices.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/temp_dir.h"

namespace trainerd::server {
namespace {

using ::testing::HasSubstr;

class DevicesTest : public ::testing::Test {
 protected:
  // A program of these lines.
  std::string Script(const std::string& lines) {
    return dir_.Write("program", "#!/bin/sh\n" + lines, 0700);
  }
  TempDir dir_;
};

TEST_F(DevicesTest, ReadsDevicesFromJson) {
  const std::string program = Script(
      "test \"$1\" = devices || exit 9\n"
      "echo '{\"devices\": [{\"name\": \"cpu\", \"memory_bytes\": \"12\"}, {\"name\": \"cuda:0\", "
      "\"unavailable\": \"no driver\"}]}'\n");
  const std::vector<v1::Device> devices = QueryDevices(program, absl::Seconds(30)).value();
  ASSERT_EQ(devices.size(), 2u);
  EXPECT_EQ(devices[0].memory_bytes(), 12);
  EXPECT_EQ(devices[1].unavailable(), "no driver");
}

TEST_F(DevicesTest, ReportsStderrOfBrokenWorker) {
  const absl::Status status =
      QueryDevices(Script("echo libfoo.so is missing >&2; exit 127\n"), absl::Seconds(30)).status();
  EXPECT_THAT(std::string(status.message()), HasSubstr("libfoo.so is missing"));
  EXPECT_FALSE(QueryDevices(Script("echo no json\n"), absl::Seconds(30)).ok());
}

}  // namespace
}  // namespace trainerd::server
