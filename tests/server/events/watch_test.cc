// SPDX-License-Identifier: Apache-2.0
// The guarantees of StreamStatus (event.proto), each without threads: ordered, unique, gapless
// within the filter, atomic, resumable, bookmarked, bounded.
#include "server/events/watch.h"

#include "server/events/cursor.h"
#include "tests/server/events/event_fixture.h"

namespace trainerd::server {
namespace {

class WatchTest : public ::testing::Test {
 protected:
  Watch Make(WatchOptions options) { return Watch(std::move(options), "db", clock_.Now()); }
  Watch::Next Advance(Watch& watch) {
    BatchCache cache;
    Watch::Next next = watch.Advance(f_.log, &cache, clock_.Now());
    if (!next.read_history) return next;
    watch.ReadHistory(f_.log, clock_.Now());
    return watch.Advance(f_.log, &cache, clock_.Now());
  }
  // All messages until there is nothing more to send.
  std::vector<v1::StreamStatusResponse> Drain(Watch& watch) {
    std::vector<v1::StreamStatusResponse> messages;
    for (int i = 0; i < 10'000; ++i) {
      Watch::Next next = Advance(watch);
      if (next.message == nullptr) break;
      messages.push_back(Parse(next.message));
    }
    return messages;
  }
  std::vector<int64_t> Seqs(const std::vector<v1::StreamStatusResponse>& messages) {
    std::vector<int64_t> seqs;
    for (const auto& message : messages) {
      for (const auto& event : message.events()) seqs.push_back(event.seq());
    }
    return seqs;
  }
  LogFixture f_;
  FakeClock clock_;
};

TEST_F(WatchTest, DeliversEachEventOnceInOrderInBoundedMessages) {
  for (int step = 1; step <= 2000; ++step) f_.Publish({MetricsEvent("jobs/a", step)});
  Watch watch = Make({});
  const auto messages = Drain(watch);
  const std::vector<int64_t> seqs = Seqs(messages);
  ASSERT_EQ(seqs.size(), 2000u);
  for (size_t i = 0; i < seqs.size(); ++i) ASSERT_EQ(seqs[i], static_cast<int64_t>(i) + 1);
  for (const auto& message : messages) EXPECT_LE(message.events_size(), kMaxBatchEvents);
  EXPECT_EQ(messages.back().cursor(), "db-2000");
  EXPECT_EQ(messages.back().lag_events(), 0);
  EXPECT_EQ(messages.front().lag_events(), 2000 - messages.front().events_size());
}

TEST_F(WatchTest, ResumesExactlyAfterEachCursor) {
  for (int i = 0; i < 40; ++i) {
    std::vector<v1::Event> change;
    for (int k = 0; k <= i % 13; ++k) {
      change.push_back(MetricsEvent(k % 2 == 0 ? "jobs/a" : "jobs/b", i * 100 + k + 1));
      change.push_back(MetricsEvent("jobs/a", 50'000 + i * 100 + k));
    }
    f_.Publish(change);
  }
  for (const absl::Duration interval : {absl::ZeroDuration(), absl::Milliseconds(1)}) {
    WatchOptions options{.filter = {.job = "jobs/a"}, .min_metrics_interval = interval};
    Watch whole = Make(options);
    std::vector<v1::StreamStatusResponse> all = Drain(whole);
    ASSERT_FALSE(all.empty());
    for (size_t cut = 0; cut < all.size(); ++cut) {
      options.start_seq = *ParseCursor(all[cut].cursor(), "db", f_.log.last_seq());
      Watch rest = Make(options);
      std::vector<v1::StreamStatusResponse> before(all.begin(), all.begin() + cut + 1);
      int64_t steps = 0;
      for (const auto& part : {before, Drain(rest)}) {
        for (const auto& message : part) {
          for (const auto& event : message.events()) steps += std::max(1, event.metrics().merged());
        }
      }
      int64_t expected = 0;
      for (const EventRecord& record : f_.all) expected += record.job == "jobs/a";
      EXPECT_EQ(steps, expected) << "cut after message " << cut;
    }
  }
}

// A cursor of the database, whose newest transaction the log does not have yet.
TEST_F(WatchTest, LagIsNeverNegative) {
  f_.Publish({MetricsEvent("jobs/a", 1)});
  Watch watch = Make({.start_seq = 5, .bookmark_interval = absl::Seconds(1)});
  clock_.Advance(absl::Seconds(2));
  const Watch::Next bookmark = Advance(watch);
  ASSERT_NE(bookmark.message, nullptr);
  EXPECT_EQ(Parse(bookmark.message).cursor(), "db-5");
  EXPECT_EQ(Parse(bookmark.message).lag_events(), 0);
}

TEST_F(WatchTest, NeverSplitsChange) {
  std::vector<v1::Event> big(200, MetricsEvent("jobs/a", 1));
  for (int i = 0; i < 5; ++i) f_.Publish(big);
  Watch watch = Make({});
  for (const auto& message : Drain(watch)) EXPECT_EQ(message.events_size(), 200);
}

TEST_F(WatchTest, FiltersByJobAndType) {
  f_.Publish({StateEvent("jobs/a", v1::Job::QUEUED), MetricsEvent("jobs/a", 1),
              MetricsEvent("jobs/b", 1), StateEvent("jobs/b", v1::Job::QUEUED)});
  Watch job = Make({.filter = {.job = "jobs/b"}});
  EXPECT_EQ(Seqs(Drain(job)), (std::vector<int64_t>{3, 4}));
  Watch type = Make({.filter = {.types = Bit(v1::Event::kStateChanged)}});
  EXPECT_EQ(Seqs(Drain(type)), (std::vector<int64_t>{1, 4}));
}

TEST_F(WatchTest, SendsBookmarkWhenIdleForInterval) {
  f_.Publish({MetricsEvent("jobs/b", 1)});
  Watch watch = Make({.filter = {.job = "jobs/a"}, .bookmark_interval = absl::Seconds(10)});
  EXPECT_EQ(Advance(watch).message, nullptr);
  clock_.Advance(absl::Seconds(9));
  const Watch::Next early = Advance(watch);
  EXPECT_EQ(early.message, nullptr);
  EXPECT_EQ(early.wake, clock_.Now() + absl::Seconds(1));
  clock_.Advance(absl::Seconds(1));
  const v1::StreamStatusResponse bookmark = Parse(Advance(watch).message);
  EXPECT_EQ(bookmark.events_size(), 0);
  EXPECT_EQ(bookmark.cursor(), "db-1") << "events of other jobs need not be read again";
}

TEST_F(WatchTest, BookmarkNeverPassesHeldBackMetrics) {
  Watch watch =
      Make({.min_metrics_interval = absl::Seconds(60), .bookmark_interval = absl::Seconds(10)});
  f_.Publish({MetricsEvent("jobs/a", 1)});
  ASSERT_EQ(Seqs(Drain(watch)), (std::vector<int64_t>{1}));
  f_.Publish({MetricsEvent("jobs/a", 2)});
  EXPECT_EQ(Advance(watch).message, nullptr);
  clock_.Advance(absl::Seconds(11));
  EXPECT_EQ(Parse(Advance(watch).message).cursor(), "db-1");
  clock_.Advance(absl::Seconds(50));
  EXPECT_EQ(Seqs({Parse(Advance(watch).message)}), (std::vector<int64_t>{2}));
}

TEST_F(WatchTest, UntilTerminalEndsAfterLastEvent) {
  f_.Publish({StateEvent("jobs/a", v1::Job::QUEUED)}, kJobCreated);
  Watch watch = Make({.filter = {.job = "jobs/a", .types = Bit(v1::Event::kMetrics)},
                      .until_terminal = true,
                      .open_jobs = {"jobs/a"},
                      .counted_seq = 1});
  EXPECT_FALSE(Advance(watch).finish.has_value());
  f_.Publish({MetricsEvent("jobs/a", 1)});
  f_.Publish({StateEvent("jobs/a", v1::Job::SUCCEEDED)}, kJobEnded);
  EXPECT_EQ(Seqs({Parse(Advance(watch).message)}), (std::vector<int64_t>{2}));
  const Watch::Next end = Advance(watch);
  ASSERT_TRUE(end.finish.has_value());
  EXPECT_OK(*end.finish);
}

TEST_F(WatchTest, UntilTerminalSendsHistoryOfEndedJob) {
  f_.Publish({MetricsEvent("jobs/a", 1)});
  f_.Publish({StateEvent("jobs/a", v1::Job::SUCCEEDED)}, kJobEnded);
  Watch watch = Make({.filter = {.job = "jobs/a"}, .until_terminal = true, .counted_seq = 2});
  EXPECT_EQ(Parse(Advance(watch).message).events_size(), 2);
  EXPECT_TRUE(Advance(watch).finish.has_value());
}

TEST_F(WatchTest, UntilTerminalCountsJobsCreatedLater) {
  Watch watch = Make({.until_terminal = true, .open_jobs = {"jobs/a"}});
  f_.Publish({StateEvent("jobs/b", v1::Job::QUEUED)}, kJobCreated);
  f_.Publish({StateEvent("jobs/a", v1::Job::FAILED)}, kJobEnded);
  Drain(watch);
  EXPECT_FALSE(Advance(watch).finish.has_value());
  f_.Publish({StateEvent("jobs/b", v1::Job::FAILED)}, kJobEnded);
  Drain(watch);
  EXPECT_TRUE(Advance(watch).finish.has_value());
}

TEST_F(WatchTest, SendsSnapshotFirst) {
  f_.Publish({MetricsEvent("jobs/a", 1)});
  int calls = 0;
  Watch watch = Make({.snapshot = [&]() -> absl::StatusOr<std::optional<std::string>> {
    if (++calls > 2) return std::optional<std::string>();
    v1::StreamStatusResponse response;
    response.set_snapshot_complete(calls == 2);
    return std::optional<std::string>(response.SerializeAsString());
  }});
  const auto messages = Drain(watch);
  ASSERT_EQ(messages.size(), 3u);
  EXPECT_FALSE(messages[0].snapshot_complete());
  EXPECT_TRUE(messages[1].snapshot_complete());
  EXPECT_EQ(messages[2].events_size(), 1);
}

TEST_F(WatchTest, MergesMetricsButNoStateForSlowWatcher) {
  Watch watch = Make({});
  Advance(watch);  // is live now
  for (int step = 1; step <= 20'000; ++step) {
    f_.Publish({MetricsEvent("jobs/a", step)});
    if (step == 10'000) f_.Publish({StateEvent("jobs/a", v1::Job::RUNNING)});
  }
  int64_t steps = 0, states = 0, messages = 0;
  for (const auto& message : Drain(watch)) {
    ++messages;
    for (const auto& event : message.events()) {
      steps += event.has_metrics() ? std::max(1, event.metrics().merged()) : 0;
      states += event.has_state_changed();
    }
  }
  EXPECT_EQ(steps, 20'000);
  EXPECT_EQ(states, 1);
  EXPECT_LT(messages, 100);
}

TEST_F(WatchTest, NeverMergesHistoryForWatcherThatStartsThere) {
  for (int step = 1; step <= 10'000; ++step) f_.Publish({MetricsEvent("jobs/a", step)});
  Watch watch = Make({});
  EXPECT_EQ(Seqs(Drain(watch)).size(), 10'000u);
}

TEST_F(WatchTest, RequestsHistoryReadOnlyForEvictedEvents) {
  const int64_t in_memory = EventLog::Limits{}.events;
  for (int step = 1; step <= in_memory + 10; ++step) f_.Publish({MetricsEvent("jobs/a", step)});
  BatchCache cache;
  Watch behind = Make({.start_seq = 9});
  EXPECT_TRUE(behind.Advance(f_.log, &cache, clock_.Now()).read_history);
  Watch recent = Make({.start_seq = 10});
  const Watch::Next next = recent.Advance(f_.log, &cache, clock_.Now());
  EXPECT_FALSE(next.read_history);
  EXPECT_EQ(Seqs({Parse(next.message)}).front(), 11);
  EXPECT_EQ(f_.OldReads(), 0);
}

TEST_F(WatchTest, UntilTerminalSendsMetricsThatAreHeldBack) {
  for (int step = 1; step <= 300; ++step) f_.Publish({MetricsEvent("jobs/a", step)});
  Watch watch = Make({.filter = {.job = "jobs/a", .types = Bit(v1::Event::kMetrics)},
                      .min_metrics_interval = absl::Seconds(60),
                      .until_terminal = true,
                      .counted_seq = 300});
  int64_t steps = 0;
  for (const auto& message : Drain(watch)) {
    for (const auto& event : message.events()) steps += std::max(1, event.metrics().merged());
  }
  EXPECT_EQ(steps, 300);
  EXPECT_OK(*Advance(watch).finish);
}

TEST_F(WatchTest, EndsWithNotFoundWhenJobIsDeleted) {
  Watch watch = Make({.filter = {.job = "jobs/a"}});
  v1::Event notice;
  notice.set_job("jobs/a");
  notice.mutable_notice()->set_code("JOB_DELETED");
  f_.Publish({notice}, kJobDeleted);
  EXPECT_EQ(Parse(Advance(watch).message).events_size(), 1);
  EXPECT_TRUE(absl::IsNotFound(*Advance(watch).finish));
}

TEST_F(WatchTest, EndsAtDeadline) {
  Watch watch = Make({.deadline = clock_.Now() + absl::Seconds(5)});
  EXPECT_EQ(Advance(watch).wake, clock_.Now() + absl::Seconds(5));
  clock_.Advance(absl::Seconds(5));
  EXPECT_TRUE(absl::IsDeadlineExceeded(*Advance(watch).finish));
}

TEST_F(WatchTest, SharesMessageBetweenWatchersAtSamePosition) {
  f_.Publish({MetricsEvent("jobs/a", 1)});
  Watch first = Make({}), second = Make({});
  BatchCache cache;
  const Watch::Next a = first.Advance(f_.log, &cache, clock_.Now());
  const Watch::Next b = second.Advance(f_.log, &cache, clock_.Now());
  EXPECT_EQ(a.message.get(), b.message.get());
}

}  // namespace
}  // namespace trainerd::server
