// SPDX-License-Identifier: Apache-2.0
// trainctl notifications against the fake daemon.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/client/fake_daemon.h"

namespace trainerd::client {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class NotificationsCommandTest : public ::testing::Test {
 protected:
  NotificationsCommandTest() : daemon_(&store_, SocketOf(folder_.path())) {
    Add(7, v1::Notification::DEAD, "HTTP 500");
    Add(8, v1::Notification::PENDING, "HTTP 503\x1b[2J");
    Add(9, v1::Notification::DELIVERED, "");
  }
  void Add(int number, v1::Notification::State state, const std::string& error) {
    v1::Notification& added = store_.notifications.emplace_back();
    added.set_name("notifications/" + std::to_string(number));
    added.set_target("pager");
    added.set_event(v1::NOTIFY_EVENT_STALLED);
    added.set_job("jobs/4f0123456789");
    added.set_state(state);
    added.set_attempt_count(3);
    added.set_last_error(error);
  }
  RunResult Run(const std::vector<std::string>& arguments) {
    return Trainctl(folder_.path(), arguments);
  }

  TempDir folder_;
  FakeStore store_;
  FakeDaemon daemon_;
};

TEST_F(NotificationsCommandTest, ListsAllOrByState) {
  const RunResult all = Run({"notifications"});
  EXPECT_EQ(all.code, kDone) << all.err;
  for (const char* word : {"DEAD", "PENDING", "DELIVERED", "pager", "stalled", "HTTP 500"})
    EXPECT_THAT(all.out, HasSubstr(word));
  EXPECT_THAT(all.out, Not(HasSubstr("\x1b")));
  const RunResult dead = Run({"notifications", "--state", "dead"});
  EXPECT_THAT(dead.out, HasSubstr("HTTP 500"));
  EXPECT_THAT(dead.out, Not(HasSubstr("PENDING")));
  EXPECT_THAT(Run({"notifications", "-o", "json"}).out, HasSubstr("\"event\": \"stalled\""));
  const RunResult lines = Run({"notifications", "-o", "jsonl"});
  EXPECT_EQ(std::count(lines.out.begin(), lines.out.end(), '\n'), 3);
  EXPECT_EQ(Run({"notifications", "--state", "LOST"}).code, kUsage);
}

TEST_F(NotificationsCommandTest, RetriesADeadOneByItsNumber) {
  const RunResult retried = Run({"notifications", "retry", "7"});
  EXPECT_EQ(retried.code, kDone) << retried.err;
  EXPECT_THAT(retried.out, HasSubstr("notifications/7 is delivered to pager again"));
  ASSERT_EQ(store_.notification_retries.size(), 1u);
  EXPECT_EQ(store_.notification_retries[0].name(), "notifications/7");
  EXPECT_FALSE(store_.notification_retries[0].request_id().empty());
  EXPECT_THAT(Run({"notifications", "retry", "notifications/7", "-o", "json"}).out,
              HasSubstr("\"state\": \"PENDING\""));
  EXPECT_EQ(Run({"notifications", "retry", "8"}).code, kRefused);
  EXPECT_EQ(Run({"notifications", "retry", "10"}).code, kRefused);
  EXPECT_EQ(Run({"notifications", "retry"}).code, kUsage);
}

}  // namespace
}  // namespace trainerd::client
