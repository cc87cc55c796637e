// SPDX-License-Identifier: Apache-2.0
#include "server/runs/inspect_client.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/temp_dir.h"

namespace trainerd::server {
namespace {

// A program that stands for trainerd-inspect: `body` is a shell script.
class InspectClientTest : public ::testing::Test {
 protected:
  absl::StatusOr<v1::DataReport> Run(const std::string& body,
                                     absl::Duration timeout = absl::Seconds(20)) {
    const std::string path = dir_.Write("inspect", "#!/bin/sh\n" + body + "\n", 0700);
    return RunValidate(path, "name: x\n", timeout, /*is_cancelled=*/nullptr);
  }
  TempDir dir_;
};

TEST_F(InspectClientTest, AReportWithoutErrorsIsTheAnswer) {
  const auto report = Run("echo '{\"examples\":\"3\",\"quick\":true}'");
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->examples(), 3);
}

// Exit code 2 with a report is still an answer: the findings say file and line.
TEST_F(InspectClientTest, AReportWithErrorFindingsIsTheAnswerToo) {
  const auto report =
      Run("echo "
          "'{\"findings\":[{\"code\":\"BAD_JSON\",\"error\":true,\"count\":\"1\",\"first_places\":["
          "\"a.jsonl:2:42\"]}]}'; exit 2");
  ASSERT_TRUE(report.ok()) << report.status();
  ASSERT_EQ(report->findings_size(), 1);
  EXPECT_EQ(report->findings(0).first_places(0), "a.jsonl:2:42");
}

TEST_F(InspectClientTest, AnErrorWithoutReportCarriesItsMessage) {
  const auto report = Run("echo 'model folder /x: no config.json' >&2; exit 2");
  EXPECT_EQ(report.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(report.status().message(), "model folder /x: no config.json");
}

TEST_F(InspectClientTest, ACrashIsNotAnAnswer) {
  const auto report = Run("kill -SEGV $$");
  EXPECT_EQ(report.status().code(), absl::StatusCode::kInternal);
  EXPECT_NE(report.status().message().find("signal 11"), std::string::npos) << report.status();
}

TEST_F(InspectClientTest, OneThatTakesTooLongIsNotAnAnswer) {
  const auto report = Run("sleep 600", absl::Milliseconds(50));
  EXPECT_EQ(report.status().code(), absl::StatusCode::kDeadlineExceeded) << report.status();
}

TEST_F(InspectClientTest, TheConfigurationArrivesAsAFile) {
  const auto report =
      Run("test \"$1 $2 $4\" = 'validate --job --quick' && grep -q '^name: x' \"$3\" && "
          "echo '{\"examples\":\"7\"}'");
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->examples(), 7);
}

}  // namespace
}  // namespace trainerd::server
