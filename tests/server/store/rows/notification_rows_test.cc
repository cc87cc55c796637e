// SPDX-License-Identifier: Apache-2.0
#include "server/store/rows/notification_rows.h"

#include <gmock/gmock.h>

#include "tests/server/test_env.h"

namespace trainerd::server {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

const absl::Time kTime = absl::FromUnixSeconds(1'800'000'000);

class NotificationRowsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto store = Store::Open({.path = dir_ / "trainerd.db"});
    ASSERT_OK(store.status());
    store_ = *std::move(store);
  }
  void Change(const std::function<absl::Status(Connection&)>& change) {
    ASSERT_OK(store_->Change([&](Transaction& t) { return change(t.db()); }));
  }
  void Insert(const std::string& target, const std::string& url = "") {
    Change([&](Connection& db) {
      return InsertNotification(db, {.target = target,
                                     .url = url,
                                     .event = v1::NOTIFY_EVENT_ALERT,
                                     .job = "jobs/a",
                                     .event_seq = 17,
                                     .create_time = kTime,
                                     .due = kTime,
                                     .retry_until = kTime + absl::Hours(72),
                                     .body = "{}"});
    });
  }
  NotificationRow LoadRow(int64_t number) {
    NotificationRow row;
    EXPECT_OK(store_->Read([&](Connection& db) -> absl::Status {
      auto loaded = LoadNotification(db, number);
      if (loaded.ok()) row = *loaded;
      return loaded.status();
    }));
    return row;
  }
  void SetState(int64_t number, v1::Notification::State state, absl::Time end_time = kTime) {
    NotificationRow row = LoadRow(number);
    row.state = state;
    row.end_time = end_time;
    Change([&](Connection& db) { return StoreNotification(db, row); });
  }
  static std::vector<int64_t> Numbers(absl::StatusOr<std::vector<NotificationRow>> rows) {
    EXPECT_OK(rows.status());
    std::vector<int64_t> numbers;
    for (const NotificationRow& row : *rows) numbers.push_back(row.number);
    return numbers;
  }
  std::vector<int64_t> Heads() {
    return Numbers(store_->Read([](Connection& db) { return LaneHeads(db); }));
  }
  std::vector<int64_t> List(const NotificationQuery& query = {}) {
    return Numbers(store_->Read([&](Connection& db) { return ListNotificationRows(db, query); }));
  }

  TempDir dir_;
  std::unique_ptr<Store> store_;
};

TEST_F(NotificationRowsTest, ReadsWhatWasStored) {
  Insert("pager", "https://a/x");
  NotificationRow row = LoadRow(1);
  EXPECT_EQ(row.state, v1::Notification::PENDING);
  EXPECT_EQ(row.url, "https://a/x");
  EXPECT_EQ(row.event, v1::NOTIFY_EVENT_ALERT);
  EXPECT_EQ(row.event_seq, 17);
  EXPECT_EQ(row.body, "{}");
  EXPECT_EQ(row.retry_until, kTime + absl::Hours(72));
  row.attempts = 3;
  row.due = kTime + absl::Seconds(20);
  row.last_error = "HTTP 500";
  Change([&](Connection& db) { return StoreNotification(db, row); });
  EXPECT_EQ(LoadRow(1).attempts, 3);
  EXPECT_EQ(LoadRow(1).due, kTime + absl::Seconds(20));
  EXPECT_EQ(LoadRow(1).last_error, "HTTP 500");
  EXPECT_EQ(LoadRow(1).body, "{}");
  SetState(1, v1::Notification::DELIVERED);
  EXPECT_EQ(LoadRow(1).body, "") << "it is not needed any more";
}

TEST_F(NotificationRowsTest, EachLaneHasOneHead) {
  EXPECT_THAT(Heads(), IsEmpty());
  Insert("b");                 // 1
  Insert("a");                 // 2
  Insert("b");                 // 3
  Insert("a", "https://x/1");  // 4
  Insert("a", "https://x/1");  // 5
  Insert("a", "https://x/2");  // 6
  EXPECT_THAT(Heads(), ElementsAre(2, 4, 6, 1));
  SetState(4, v1::Notification::DEAD);
  SetState(1, v1::Notification::DELIVERED);
  SetState(2, v1::Notification::DELIVERED);
  EXPECT_THAT(Heads(), ElementsAre(5, 6, 3));
  // One that is delivered again comes before those after it.
  SetState(4, v1::Notification::PENDING);
  EXPECT_THAT(Heads(), ElementsAre(4, 6, 3));
}

TEST_F(NotificationRowsTest, ListsByStateNewestFirst) {
  for (int i = 0; i < 5; ++i) Insert("a");
  SetState(2, v1::Notification::DEAD);
  SetState(4, v1::Notification::DELIVERED);
  EXPECT_THAT(List(), ElementsAre(5, 4, 3, 2, 1));
  EXPECT_THAT(List({.before_number = 4, .limit = 2}), ElementsAre(3, 2));
  EXPECT_THAT(List({.states = {v1::Notification::DEAD}}), ElementsAre(2));
  EXPECT_THAT(List({.states = {v1::Notification::DEAD, v1::Notification::DELIVERED}}),
              ElementsAre(4, 2));
}

// The number is the webhook-id, by which receivers recognize a repeated delivery.
TEST_F(NotificationRowsTest, NoNumberIsUsedAgain) {
  Insert("a");
  Insert("a");
  SetState(1, v1::Notification::DELIVERED);
  SetState(2, v1::Notification::DEAD, kTime + absl::Hours(1));
  Change([](Connection& db) { return PruneNotifications(db, kTime, kTime); });
  EXPECT_THAT(List(), ElementsAre(2, 1)) << "they ended no earlier";
  Change([](Connection& db) { return PruneNotifications(db, kTime + absl::Hours(9), kTime); });
  EXPECT_THAT(List(), ElementsAre(2));
  Change([](Connection& db) {
    return PruneNotifications(db, absl::InfiniteFuture(), kTime + absl::Hours(9));
  });
  EXPECT_THAT(List(), IsEmpty());
  Insert("a");
  EXPECT_THAT(List(), ElementsAre(3));
}

TEST_F(NotificationRowsTest, LimitsTimesOfPendingRowsOnly) {
  Insert("a");
  Insert("a");
  SetState(2, v1::Notification::DEAD);
  Change([](Connection& db) {
    return LimitNotificationTimes(db, kTime - absl::Hours(9), kTime - absl::Hours(1));
  });
  EXPECT_EQ(LoadRow(1).due, kTime - absl::Hours(9));
  EXPECT_EQ(LoadRow(1).retry_until, kTime - absl::Hours(1));
  EXPECT_EQ(LoadRow(2).due, kTime);
  Change([](Connection& db) {
    return LimitNotificationTimes(db, kTime + absl::Hours(9), kTime + absl::Hours(9));
  });
  EXPECT_EQ(LoadRow(1).due, kTime - absl::Hours(9)) << "earlier times stay";
}

}  // namespace
}  // namespace trainerd::server
