// SPDX-License-Identifier: Apache-2.0
// MakeWatch: which positions and filters a watch accepts, and its snapshot.
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "proto/contract/job/names.h"
#include "server/commands/queries/queries.h"
#include "server/events/cursor.h"
#include "tests/server/commands/queries/queries_fixture.h"
#include "tests/server/test_env.h"

namespace trainerd::server {
namespace {

TEST_F(QueriesTest, RefusesInvalidWatchRequests) {
  Add(1);
  EXPECT_OK(Watch("parent: 'jobs/-'"));
  EXPECT_OK(Watch("parent: 'j0' event_types: 'metrics'"));
  EXPECT_TRUE(absl::IsInvalidArgument(Watch("")));
  EXPECT_TRUE(absl::IsNotFound(Watch("parent: 'jobs/none'")));
  EXPECT_TRUE(absl::IsInvalidArgument(Watch("parent: 'jobs/-' after: 'x'")));
  EXPECT_TRUE(absl::IsOutOfRange(
      Watch(absl::StrCat("parent: 'jobs/-' after: '", store_->database_id(), "-999'"))));
  const absl::Status typo = Watch("parent: 'jobs/-' event_types: 'metric'");
  EXPECT_TRUE(absl::IsInvalidArgument(typo));
  EXPECT_TRUE(absl::StrContains(typo.message(), "did you mean \"metrics\"?")) << typo;
}

TEST_F(QueriesTest, RefusesCursorBeforeExpiredMetricsButNotBegin) {
  Add(1);
  ASSERT_OK(store_->Change([&](Transaction& t) {
    v1::Event event;
    event.set_job("jobs/j0");
    event.mutable_metrics()->set_step(1);
    return t.Append(event);
  }));
  End("j0");
  clock_.Advance(absl::Hours(1));
  CompactAllMetrics(*store_);
  ASSERT_OK(store_->Change(
      [&](Transaction& t) { return PruneEvents(t.db(), clock_.Now(), 10).status(); }));
  const std::string id = store_->database_id();
  for (const char* parent : {"jobs/j0", "jobs/-"}) {
    const std::string watch = absl::StrCat("parent: '", parent, "' after: '");
    EXPECT_TRUE(absl::IsOutOfRange(Watch(absl::StrCat(watch, id, "-1'")))) << parent;
    EXPECT_OK(Watch(absl::StrCat(watch, id, "-2'")));
    EXPECT_OK(Watch(absl::StrCat(watch, "begin'")));
  }
}

TEST_F(QueriesTest, WatchWithSelectorCountsAndShowsMatchingJobsAlone) {
  Add(6);
  End("j2");
  auto watch = MakeWatch(
      *store_, FromText<v1::StreamStatusRequest>("parent: 'jobs/-' label_selector: 'parity != odd' "
                                                 "send_snapshot: true until_terminal: true"));
  ASSERT_OK(watch.status());
  EXPECT_EQ(watch->open_jobs, (std::set<std::string>{"jobs/j0", "jobs/j4"}));
  std::string names;
  while (true) {
    const auto message = watch->snapshot();
    ASSERT_OK(message.status());
    if (!message->has_value()) break;
    v1::StreamStatusResponse response;
    ASSERT_TRUE(response.ParseFromString(**message));
    for (const v1::Job& job : response.snapshot()) names += JobId(job.name()) + " ";
  }
  EXPECT_EQ(names, "j4 j2 j0 ");
  EXPECT_TRUE(absl::IsInvalidArgument(Watch("parent: 'jobs/j0' label_selector: 'parity'")));
  EXPECT_TRUE(absl::IsInvalidArgument(Watch("parent: 'jobs/-' label_selector: 'parity ='")));
  EXPECT_OK(Watch("parent: 'jobs/j0' label_selector: ''"));
}

TEST_F(QueriesTest, CursorExpiresOnlyForTypesOfWhichEventsWereLost) {
  Add(2);
  ASSERT_OK(store_->Change([&](Transaction& t) -> absl::Status {
    for (const char* job : {"jobs/j0", "jobs/j1"}) {
      v1::Event event;
      event.set_job(job);
      event.mutable_metrics()->set_step(1);
      EXPECT_OK(t.Append(event));
      event.mutable_checkpoint()->set_kind(v1::CheckpointEvent::PUBLISHED);
      EXPECT_OK(t.Append(event));
    }
    return absl::OkStatus();
  }));
  End("j0");
  clock_.Advance(absl::Hours(1));
  // The metrics of j0 expire. Then all of j1 is deleted, up to its checkpoint at 6.
  CompactAllMetrics(*store_);
  ASSERT_OK(store_->Change(
      [&](Transaction& t) { return PruneEvents(t.db(), clock_.Now(), 10).status(); }));
  const auto is_expired = [&](const char* parent, int seq, const std::string& types) {
    const absl::Status status = Watch(absl::StrCat("parent: '", parent, "' after: '",
                                                   store_->database_id(), "-", seq, "' ", types));
    EXPECT_TRUE(status.ok() || absl::IsOutOfRange(status)) << status;
    return !status.ok();
  };
  const std::string metrics = "event_types: 'metrics' ", checkpoint = "event_types: 'checkpoint' ",
                    notice = "event_types: 'notice' ", state = "event_types: 'state_changed' ";
  for (const char* parent : {"jobs/j0", "jobs/-"}) {
    EXPECT_TRUE(is_expired(parent, 2, metrics)) << parent;
    EXPECT_TRUE(is_expired(parent, 2, "")) << parent;
    EXPECT_TRUE(is_expired(parent, 2, checkpoint + metrics)) << parent;
    EXPECT_FALSE(is_expired(parent, 3, metrics)) << parent;
    EXPECT_FALSE(is_expired(parent, 1, checkpoint + state)) << parent;
    EXPECT_FALSE(is_expired(parent, 1, notice)) << "there was none, of " << parent;
  }
  EXPECT_FALSE(is_expired("jobs/j1", 0, "")) << "nothing of it was lost";
  ASSERT_OK(store_->Change([&](Transaction& t) { return DeleteJobRows(t.db(), "j1"); }));
  EXPECT_TRUE(is_expired("jobs/-", 5, checkpoint));
  EXPECT_FALSE(is_expired("jobs/-", 6, checkpoint));
  EXPECT_TRUE(is_expired("jobs/-", 4, metrics));
  EXPECT_FALSE(is_expired("jobs/-", 5, metrics));
  EXPECT_TRUE(is_expired("jobs/-", 1, state)) << "its submission";
  EXPECT_FALSE(is_expired("jobs/-", 2, state)) << "the end of j0 is kept";
  EXPECT_FALSE(is_expired("jobs/j0", 3, "")) << "of another job";
}

TEST_F(QueriesTest, SendsSnapshotOfAllJobsInPages) {
  Add(130);
  auto watch =
      MakeWatch(*store_, FromText<v1::StreamStatusRequest>("parent: 'jobs/-' send_snapshot: true"));
  ASSERT_OK(watch.status());
  EXPECT_EQ(watch->start_seq, 130);
  int jobs = 0, complete = 0, messages = 0;
  while (true) {
    auto message = watch->snapshot();
    ASSERT_OK(message.status());
    if (!message->has_value()) break;
    v1::StreamStatusResponse response;
    ASSERT_TRUE(response.ParseFromString(**message));
    EXPECT_EQ(complete, 0) << "nothing after the completion";
    jobs += response.snapshot_size();
    complete += response.snapshot_complete();
    ++messages;
    if (response.snapshot_complete()) {
      EXPECT_EQ(response.cursor(), FormatCursor(store_->database_id(), 130));
    }
  }
  EXPECT_EQ(jobs, 130);
  EXPECT_EQ(complete, 1);
  EXPECT_EQ(messages, 3);
}

}  // namespace
}  // namespace trainerd::server
