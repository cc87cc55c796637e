// SPDX-License-Identifier: Apache-2.0
// What is written with an event: all of it or nothing.
#include "server/outbox/outbox.h"

#include <gmock/gmock.h>
#include <poll.h>

#include "nlohmann/json.hpp"
#include "server/store/rows/notification_rows.h"
#include "tests/server/test_env.h"

namespace trainerd::server {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class OutboxTest : public ::testing::Test {
 protected:
  void Open(const std::string& notify) {
    v1::ServerConfig config;
    std::vector<ConfigViolation> violations =
        YamlToMessage("notify: " + notify, &config).violations;
    auto targets = NotifyTargets::Create(ResolveServerConfig(config, &violations));
    ASSERT_OK(targets.status());
    EXPECT_EQ(ViolationsText(violations), "");
    targets_ = *std::move(targets);
    auto outbox = Outbox::Create(targets_);
    ASSERT_OK(outbox.status());
    outbox_ = *std::move(outbox);
    auto store = Store::Open({.path = dir_ / "trainerd.db",
                              .listener = [this](const auto&) { outbox_->OnCommit(); },
                              .before_end =
                                  [this](Transaction& t, const auto& events) {
                                    const int64_t rows = t.db().changed_rows();
                                    absl::Status status = outbox_->Write(t, events);
                                    written_ += t.db().changed_rows() - rows;
                                    return status;
                                  }});
    ASSERT_OK(store.status());
    store_ = *std::move(store);
  }
  absl::Status End(const std::string& id, v1::Job::State state, bool fails = false) {
    return store_->Change([&](Transaction& t) -> absl::Status {
      JobRecord record = *LoadJob(t.db(), id);
      EXPECT_OK(ApplyTransition(
          t,
          {.to = state, .desired_state = record.job.desired_state(), .reason = "r", .actor = "a"},
          &record));
      return fails ? absl::AbortedError("no") : absl::OkStatus();
    });
  }
  std::vector<NotificationRow> Rows() {
    auto rows = store_->Read([](Connection& db) { return LaneHeads(db); });
    EXPECT_OK(rows.status());
    return *std::move(rows);
  }
  bool IsWoken() {
    pollfd fd{.fd = outbox_->wake_fd(), .events = POLLIN, .revents = 0};
    return ::poll(&fd, 1, 0) == 1;
  }

  TempDir dir_;
  NotifyTargets targets_;
  std::unique_ptr<Outbox> outbox_;
  std::atomic<int64_t> written_{0};
  std::unique_ptr<Store> store_;
};

TEST_F(OutboxTest, WritesWithTheEndOfAJobAndWakes) {
  Open("[{name: a, command: [/bin/true]}, {name: b, command: [/bin/true], events: [failed]}]");
  AddJob(*store_, "j1", "/runs/j1", "name: shown\nnotify: [{target: b}]");
  EXPECT_THAT(Rows(), IsEmpty());
  EXPECT_FALSE(IsWoken());
  ASSERT_OK(End("j1", v1::Job::FAILED));
  EXPECT_TRUE(IsWoken());
  outbox_->ClearWake();
  EXPECT_FALSE(IsWoken());
  const std::vector<NotificationRow> rows = Rows();
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].target, "a");
  EXPECT_EQ(rows[0].event, v1::NOTIFY_EVENT_ENDED);
  EXPECT_EQ(rows[1].event, v1::NOTIFY_EVENT_FAILED);
  EXPECT_EQ(rows[0].event_seq, 2);
  EXPECT_EQ(rows[0].job, "jobs/j1");
  const nlohmann::json body = nlohmann::json::parse(rows[0].body);
  EXPECT_EQ(body["type"], "job.ended");
  EXPECT_EQ(body["data"]["job"]["name"], "jobs/j1");
  // The job is that after the change, without its configuration.
  EXPECT_EQ(body["data"]["job"]["state"], "FAILED");
  EXPECT_FALSE(body["data"]["job"].contains("config"));
  EXPECT_EQ(body["data"]["event"]["state_changed"]["to_state"], "FAILED");
  EXPECT_EQ(body["timestamp"], body["data"]["event"]["time"]);
  EXPECT_EQ(nlohmann::json::parse(rows[1].body)["type"], "job.failed");
}

TEST_F(OutboxTest, AFailedChangeWritesNothing) {
  Open("[{name: a, command: [/bin/true]}]");
  AddJob(*store_, "j1", "/runs/j1");
  EXPECT_FALSE(End("j1", v1::Job::CANCELLED, /*fails=*/true).ok());
  EXPECT_THAT(Rows(), IsEmpty());
  ASSERT_OK(End("j1", v1::Job::CANCELLED));
  EXPECT_EQ(Rows().size(), 1u);
}

TEST_F(OutboxTest, WritesNothingWithoutATarget) {
  Open("[]");
  AddJob(*store_, "j1", "/runs/j1");
  ASSERT_OK(End("j1", v1::Job::FAILED));
  EXPECT_EQ(written_, 0);
  EXPECT_FALSE(IsWoken());
}

TEST_F(OutboxTest, WritesNothingForEventsThatNobodyIsFor) {
  Open("[{name: a, command: [/bin/true], all_jobs: false}]");
  AddJob(*store_, "j1", "/runs/j1");
  AddJob(*store_, "j2", "/runs/j2", "notify: [{target: a, events: [alert]}]");
  ASSERT_OK(End("j1", v1::Job::FAILED));
  ASSERT_OK(End("j2", v1::Job::FAILED));
  EXPECT_EQ(written_, 0);
}

TEST_F(OutboxTest, ConditionsAreThoseAfterTheChange) {
  Open("[{name: a, command: [/bin/true]}]");
  AddJob(*store_, "j1", "/runs/j1");
  ASSERT_OK(store_->Change([&](Transaction& t) -> absl::Status {
    JobRecord record = *LoadJob(t.db(), "j1");
    EXPECT_OK(
        ApplyCondition(t, {.type = "Stalled", .active = true, .reason = "NO_STEP", .message = "m"},
                       &record)
            .status());
    return StoreJob(t.db(), &record);
  }));
  ASSERT_EQ(Rows().size(), 1u);
  const nlohmann::json body = nlohmann::json::parse(Rows()[0].body);
  EXPECT_EQ(body["type"], "job.stalled");
  EXPECT_EQ(body["data"]["job"]["conditions"][0]["type"], "Stalled");
}

}  // namespace
}  // namespace trainerd::server
