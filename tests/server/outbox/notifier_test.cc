// SPDX-License-Identifier: Apache-2.0
// The notifier with the real trainerd-notify and local commands.
#include "server/outbox/notifier.h"

#include <gmock/gmock.h>

#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "proto/base/atomic_file.h"
#include "tests/server/test_env.h"

namespace trainerd::server {
namespace {

using ::testing::HasSubstr;

class NotifierTest : public ::testing::Test {
 protected:
  void Open(const std::string& notify) {
    v1::ServerConfig config;
    std::vector<ConfigViolation> violations =
        YamlToMessage("notify: " + absl::StrReplaceAll(notify, {{"DIR", dir_.path()}}), &config)
            .violations;
    auto targets = NotifyTargets::Create(ResolveServerConfig(config, &violations));
    ASSERT_OK(targets.status());
    EXPECT_EQ(ViolationsText(violations), "");
    targets_ = *std::move(targets);
    auto outbox = Outbox::Create(targets_);
    ASSERT_OK(outbox.status());
    outbox_ = *std::move(outbox);
    auto store = Store::Open({.path = dir_ / "trainerd.db"});
    ASSERT_OK(store.status());
    store_ = *std::move(store);
  }
  void Insert(const std::string& target, const std::string& body) {
    ASSERT_OK(store_->Change([&](Transaction& t) {
      return InsertNotification(t.db(), {.target = target,
                                         .event = v1::NOTIFY_EVENT_ENDED,
                                         .job = "jobs/a",
                                         .create_time = t.now(),
                                         .due = t.steady_now(),
                                         .retry_until = t.steady_now() + absl::Hours(1),
                                         .body = body});
    }));
    outbox_->Wake();
  }
  void Start(Notifier::Options options = {}) {
    if (options.program.empty()) options.program = TRAINERD_BIN_DIR + "/trainerd-notify";
    options.restart_after = absl::Milliseconds(10);
    notifier_ = std::make_unique<Notifier>(options, Notifier::Parts{targets_, *outbox_, *store_});
    notifier_->Start();
  }
  NotificationRow Row(int64_t number) {
    auto row = store_->Read([&](Connection& db) { return LoadNotification(db, number); });
    EXPECT_OK(row.status());
    return row.ok() ? *row : NotificationRow();
  }
  // Waits for `condition` of the row.
  template <typename Condition>
  NotificationRow WaitFor(int64_t number, Condition condition) {
    const absl::Time end = absl::Now() + absl::Seconds(30);
    while (absl::Now() < end) {
      const NotificationRow row = Row(number);
      if (condition(row)) return row;
      absl::SleepFor(absl::Milliseconds(5));
    }
    ADD_FAILURE() << "waited 30 s for notification " << number;
    return Row(number);
  }
  void WaitDelivered(int64_t number) {
    WaitFor(number, [](const auto& row) { return row.state == v1::Notification::DELIVERED; });
  }

  TempDir dir_;
  NotifyTargets targets_;
  std::unique_ptr<Outbox> outbox_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Notifier> notifier_;
};

constexpr char kAppend[] = "[{name: log, command: [/bin/sh, -c, 'cat >> DIR/out']}]";

TEST_F(NotifierTest, DeliversWhatWasThereAndWhatComesInOrder) {
  Open(kAppend);
  Insert("log", "a");
  Insert("log", "b");
  Start();
  WaitDelivered(2);
  for (const char* body : {"c", "d", "e"}) Insert("log", body);
  WaitDelivered(5);
  EXPECT_EQ(ReadFile(dir_ / "out").value_or(""), "abcde");
  EXPECT_EQ(Row(1).attempts, 1);
  EXPECT_EQ(Row(1).body, "");
}

TEST_F(NotifierTest, AFailedOneHoldsItsTargetButNoOther) {
  Open(
      "[{name: bad, command: [/bin/sh, -c, 'exit 3']},"
      " {name: log, command: [/bin/sh, -c, 'cat >> DIR/out']}]");
  Insert("bad", "1");
  Insert("bad", "2");
  Insert("log", "3");
  Start();
  WaitDelivered(3);
  const NotificationRow row = WaitFor(1, [](const auto& found) { return found.attempts == 1; });
  EXPECT_EQ(row.last_error, "exit code 3");
  EXPECT_EQ(row.state, v1::Notification::PENDING);
  EXPECT_GT(row.due, store_->SteadyNow());
  EXPECT_EQ(Row(2).attempts, 0);
}

TEST_F(NotifierTest, ShowsThatTheChildCannotStartAndStartsItLater) {
  Open(kAppend);
  Insert("log", "a");
  Start({.program = dir_ / "trainerd-notify"});
  const NotificationRow row =
      WaitFor(1, [](const auto& found) { return !found.last_error.empty(); });
  EXPECT_THAT(row.last_error, HasSubstr("trainerd-notify"));
  EXPECT_EQ(row.attempts, 0) << "nothing was attempted";
  std::filesystem::create_symlink(TRAINERD_BIN_DIR + "/trainerd-notify", dir_ / "trainerd-notify");
  WaitDelivered(1);
  EXPECT_EQ(ReadFile(dir_ / "out").value_or(""), "a");
}

// The child may have delivered before it died, so that counts as an attempt.
TEST_F(NotifierTest, AChildThatDiesIsAFailedAttempt) {
  Open(kAppend);
  Insert("log", "a");
  Start({.program = "/bin/false"});
  const NotificationRow row = WaitFor(1, [](const auto& found) { return found.attempts > 0; });
  EXPECT_THAT(row.last_error, HasSubstr("trainerd-notify ended with exit code 1"));
  EXPECT_EQ(row.state, v1::Notification::PENDING);
}

TEST_F(NotifierTest, KillsAChildThatDoesNotAnswer) {
  Open(kAppend);
  Insert("log", "a");
  dir_.Write("silent", "#!/bin/sh\nexec sleep 1000\n", 0700);
  Start({.program = dir_ / "silent", .answer_within = absl::Milliseconds(100)});
  const NotificationRow row = WaitFor(1, [](const auto& found) { return found.attempts > 0; });
  EXPECT_THAT(row.last_error, HasSubstr("did not answer"));
}

TEST_F(NotifierTest, ATargetThatNoLongerExistsFailsItsNotifications) {
  Open(kAppend);
  Insert("gone", "a");
  Insert("log", "b");
  Start();
  WaitDelivered(2);
  const NotificationRow row = WaitFor(1, [](const auto& found) { return found.attempts > 0; });
  EXPECT_THAT(row.last_error, HasSubstr("trainerd.yaml has no target of this name"));
}

TEST_F(NotifierTest, StopsWhileADeliveryIsInProgress) {
  Open("[{name: slow, command: [/bin/sh, -c, 'touch DIR/begun; exec sleep 1000']}]");
  Insert("slow", "a");
  Start();
  for (int i = 0; i < 3000 && !ReadFile(dir_ / "begun").ok(); ++i)
    absl::SleepFor(absl::Milliseconds(10));
  notifier_->Stop();
  EXPECT_EQ(Row(1).state, v1::Notification::PENDING) << "the next daemon delivers it";
  EXPECT_EQ(Row(1).attempts, 0);
}

}  // namespace
}  // namespace trainerd::server
