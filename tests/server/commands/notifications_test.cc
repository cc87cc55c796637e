// SPDX-License-Identifier: Apache-2.0
#include "server/commands/notifications.h"

#include <gmock/gmock.h>

#include "server/outbox/delivery_schedule.h"
#include "server/store/rows/notification_rows.h"
#include "tests/server/test_env.h"

namespace trainerd::server {
namespace {

class NotificationsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto store = Store::Open({.path = dir_ / "trainerd.db",
                              .clock = clock_.Function(),
                              .steady_clock = [this] { return clock_.Now() - absl::Hours(5); }});
    ASSERT_OK(store.status());
    store_ = *std::move(store);
  }
  void Insert(v1::Notification::State state) {
    ASSERT_OK(store_->Change([&](Transaction& t) {
      return InsertNotification(t.db(), {.state = state,
                                         .target = "pager",
                                         .url = "https://a/s3cret",
                                         .event = v1::NOTIFY_EVENT_ENDED,
                                         .job = "jobs/a",
                                         .event_seq = 3,
                                         .attempts = 4,
                                         .create_time = t.now(),
                                         .end_time = t.now(),
                                         .due = t.steady_now() + absl::Seconds(40),
                                         .retry_until = t.steady_now(),
                                         .last_error = "HTTP 500",
                                         .body = "{}"});
    }));
  }
  v1::ListNotificationsResponse List(const std::string& request) {
    auto response = ListNotifications(*store_, FromText<v1::ListNotificationsRequest>(request));
    EXPECT_OK(response.status());
    return response.ok() ? *response : v1::ListNotificationsResponse();
  }
  absl::StatusOr<v1::Notification> Retry(const std::string& name, const std::string& id = "") {
    v1::RetryNotificationRequest request;
    request.set_name(name);
    request.set_request_id(id);
    return RetryNotification(*store_, request, "unix:", [this] { ++wakes_; });
  }

  TempDir dir_;
  FakeClock clock_;
  std::unique_ptr<Store> store_;
  int wakes_ = 0;
};

TEST_F(NotificationsTest, ShowsTimesOfTheUsersClockAndNeverTheAddress) {
  Insert(v1::Notification::PENDING);
  Insert(v1::Notification::DEAD);
  const v1::ListNotificationsResponse all = List("");
  ASSERT_EQ(all.notifications_size(), 2);
  EXPECT_EQ(all.notifications(0).name(), "notifications/2");
  EXPECT_EQ(FromProto(all.notifications(0).end_time()), clock_.Now());
  EXPECT_FALSE(all.notifications(0).has_next_attempt_time());
  EXPECT_EQ(FromProto(all.notifications(1).next_attempt_time()), clock_.Now() + absl::Seconds(40));
  EXPECT_EQ(all.notifications(1).attempt_count(), 4);
  EXPECT_EQ(all.notifications(1).event_seq(), 3);
  EXPECT_THAT(all.DebugString(), ::testing::Not(::testing::HasSubstr("s3cret")));
}

TEST_F(NotificationsTest, PagesReturnEachOnce) {
  for (int i = 0; i < 5; ++i) Insert(i == 2 ? v1::Notification::DEAD : v1::Notification::PENDING);
  std::vector<std::string> names;
  std::string token;
  do {
    const v1::ListNotificationsResponse page =
        List("page_size: 2 states: PENDING page_token: '" + token + "'");
    for (const v1::Notification& found : page.notifications()) names.push_back(found.name());
    token = page.next_page_token();
    ASSERT_LT(names.size(), 10u);
  } while (!token.empty());
  EXPECT_THAT(names, ::testing::ElementsAre("notifications/5", "notifications/4", "notifications/2",
                                            "notifications/1"));
  for (const char* bad : {"page_size: -1", "page_size: 1001", "page_token: 'x'", "states: 0"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(
        ListNotifications(*store_, FromText<v1::ListNotificationsRequest>(bad)).status()))
        << bad;
  }
}

TEST_F(NotificationsTest, RetryMakesADeadOnePendingOnce) {
  Insert(v1::Notification::DEAD);
  clock_.Advance(absl::Hours(200));
  const absl::StatusOr<v1::Notification> retried = Retry("notifications/1", "r1");
  ASSERT_OK(retried.status());
  EXPECT_EQ(retried->state(), v1::Notification::PENDING);
  EXPECT_EQ(FromProto(retried->next_attempt_time()), clock_.Now());
  EXPECT_EQ(wakes_, 1);
  // The same request again returns the first reply, another one finds it alive.
  EXPECT_EQ(Retry("notifications/1", "r1")->state(), v1::Notification::PENDING);
  const absl::Status refused = Retry("notifications/1", "r2").status();
  EXPECT_TRUE(absl::IsFailedPrecondition(refused));
  EXPECT_THAT(std::string(refused.message()), ::testing::HasSubstr("is PENDING"));
  ASSERT_OK(store_->Read([](Connection& db) -> absl::Status {
    Query query(
        db, "SELECT count(*), min(resource) FROM audit WHERE method = 'Admin.RetryNotification'");
    EXPECT_TRUE(query.Step());
    EXPECT_EQ(query.Int(0), 1);
    EXPECT_EQ(query.Text(1), "notifications/1");
    return query.status();
  }));
}

TEST_F(NotificationsTest, RetryRefusesOtherNames) {
  Insert(v1::Notification::DEAD);
  for (const char* name :
       {"", "1", "notifications/", "notifications/x", "notifications/0", "notifications/-1",
        "notifications/1/2", "jobs/1", "notifications/99999999999999999999"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(Retry(name).status())) << name;
  }
  EXPECT_TRUE(absl::IsNotFound(Retry("notifications/2").status()));
  EXPECT_EQ(wakes_, 0);
}

}  // namespace
}  // namespace trainerd::server
