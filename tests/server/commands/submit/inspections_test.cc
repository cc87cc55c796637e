// SPDX-License-Identifier: Apache-2.0
// Shell scripts stand for trainerd-inspect.
#include "server/commands/submit/inspections.h"

#include <fstream>
#include <thread>

#include "absl/strings/match.h"
#include "google/rpc/error_details.pb.h"
#include "tests/server/test_env.h"

namespace trainerd::server {
namespace {

template <typename Detail>
Detail DetailOf(const absl::Status& status) {
  Detail detail;
  const auto payload = status.GetPayload("type.googleapis.com/" + detail.GetTypeName());
  EXPECT_TRUE(payload.has_value() && detail.ParseFromString(std::string(*payload))) << status;
  return detail;
}

class InspectionsTest : public ::testing::Test {
 protected:
  std::string Script(const std::string& body) {
    return dir_.Write("inspect", "#!/bin/sh\n" + body + "\n", 0700);
  }
  // A child that reports itself in a file and does not end.
  std::string Sleeper() { return Script("echo x >> " + (dir_ / "begun") + "\nexec sleep 600"); }
  void WaitForChildren(int count) {
    const absl::Time deadline = absl::Now() + absl::Seconds(30);
    int lines = 0;
    while (lines < count && absl::Now() < deadline) {
      absl::SleepFor(absl::Milliseconds(2));
      std::ifstream file(dir_ / "begun");
      lines = 0;
      for (std::string line; std::getline(file, line);) ++lines;
    }
    ASSERT_GE(lines, count);
  }
  TempDir dir_;
};

TEST_F(InspectionsTest, RefusesChildBeyondLimitWithRetryDelay) {
  const int limit = 2 * static_cast<int>(std::thread::hardware_concurrency());
  Inspections inspections({.program = Sleeper()});
  std::vector<std::thread> callers;
  for (int i = 0; i < limit; ++i) {
    callers.emplace_back(
        [&] { EXPECT_TRUE(absl::IsUnavailable(inspections.Run("name: x\n", nullptr).status())); });
  }
  WaitForChildren(limit);
  const absl::Status refused = inspections.Run("name: x\n", nullptr).status();
  EXPECT_TRUE(absl::IsResourceExhausted(refused)) << refused;
  EXPECT_EQ(DetailOf<google::rpc::ErrorInfo>(refused).reason(), "INSPECTIONS");
  EXPECT_GE(DetailOf<google::rpc::RetryInfo>(refused).retry_delay().seconds(), 1);
  inspections.Drain();
  for (std::thread& caller : callers) caller.join();
}

TEST_F(InspectionsTest, EndedChildMakesRoom) {
  Inspections inspections({.program = Script("echo '{\"examples\":\"3\"}'"), .max_children = 1});
  for (int i = 0; i < 3; ++i) EXPECT_OK(inspections.Run("name: x\n", nullptr).status());
  // Also one that was refused or failed.
  Inspections failing({.program = Script("exit 1"), .max_children = 1});
  for (int i = 0; i < 3; ++i)
    EXPECT_TRUE(absl::IsInternal(failing.Run("name: x\n", nullptr).status()));
}

TEST_F(InspectionsTest, ReportsTimeLimitWithReason) {
  Inspections inspections({.program = Sleeper(), .timeout = absl::Milliseconds(50)});
  const absl::Status late = inspections.Run("name: x\n", nullptr).status();
  EXPECT_TRUE(absl::IsDeadlineExceeded(late)) << late;
  EXPECT_EQ(DetailOf<google::rpc::ErrorInfo>(late).reason(), "INSPECTION_TIME");
  EXPECT_TRUE(absl::StrContains(late.message(), "validate_timeout")) << late;
}

TEST_F(InspectionsTest, EndsChildWhoseCallerNoLongerWaits) {
  Inspections inspections({.program = Sleeper()});
  std::atomic<bool> cancelled{false};
  std::thread caller([&] {
    const absl::Status status =
        inspections.Run("name: x\n", [&] { return cancelled.load(); }).status();
    EXPECT_TRUE(absl::IsCancelled(status)) << status;
  });
  WaitForChildren(1);
  cancelled = true;
  caller.join();
}

TEST_F(InspectionsTest, DrainEndsPresentAndFutureChildren) {
  Inspections inspections({.program = Sleeper()});
  std::thread caller(
      [&] { EXPECT_TRUE(absl::IsUnavailable(inspections.Run("name: x\n", nullptr).status())); });
  WaitForChildren(1);
  inspections.Drain();
  caller.join();
  EXPECT_TRUE(absl::IsUnavailable(inspections.Run("name: x\n", nullptr).status()));
}

}  // namespace
}  // namespace trainerd::server
