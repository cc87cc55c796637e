// SPDX-License-Identifier: Apache-2.0
// The threads around the watchers: one outstanding message each, no watcher delays another, clean
// shutdown.
#include "server/events/fan_out.h"

#include <atomic>
#include <thread>

#include "absl/synchronization/notification.h"
#include "tests/server/events/event_fixture.h"

namespace trainerd::server {
namespace {

class FakeSink : public WatchSink {
 public:
  explicit FakeSink(FanOut& fan_out, bool reads = true) : fan_out_(fan_out), reads_(reads) {}
  void Write(Bytes message) override {
    EXPECT_FALSE(outstanding_.exchange(true)) << "two messages at once";
    const v1::StreamStatusResponse response = Parse(message);
    {
      absl::MutexLock lock(&mutex_);
      for (const auto& event : response.events()) seqs_.push_back(event.seq());
    }
    if (reads_) Read();
  }
  void Read() {
    outstanding_ = false;
    fan_out_.WriteDone(watch_id, true);
  }
  void Finish(const absl::Status& status) override {
    EXPECT_FALSE(outstanding_);
    status_ = status;
    finished_.Notify();
  }
  void Abandon() override {
    abandoned_ = true;
    outstanding_ = false;
    fan_out_.WriteDone(watch_id, false);
  }
  bool WaitFor(size_t count) {
    absl::MutexLock lock(&mutex_);
    auto enough = [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return seqs_.size() >= count; };
    return mutex_.AwaitWithTimeout(absl::Condition(&enough), absl::Seconds(30));
  }
  std::vector<int64_t> seqs() {
    absl::MutexLock lock(&mutex_);
    return seqs_;
  }
  absl::Notification finished_;
  absl::Status status_;
  std::atomic<bool> abandoned_{false};

 private:
  FanOut& fan_out_;
  const bool reads_;
  std::atomic<bool> outstanding_{false};
  absl::Mutex mutex_;
  std::vector<int64_t> seqs_;
};

TEST(FanOutTest, SendsAllEventsInOrderToAllWatchers) {
  LogFixture f;
  FanOut fan_out(f.log, "db");
  f.log.SetWake([&] { fan_out.Wake(); });
  std::vector<std::unique_ptr<FakeSink>> sinks;
  for (int i = 0; i < 50; ++i) {
    sinks.push_back(std::make_unique<FakeSink>(fan_out));
    fan_out.Add({}, sinks.back().get());
  }
  for (int step = 1; step <= 300; ++step) f.Publish({MetricsEvent("jobs/a", step)});
  for (auto& sink : sinks) {
    ASSERT_TRUE(sink->WaitFor(300));
    const std::vector<int64_t> seqs = sink->seqs();
    for (size_t i = 0; i < seqs.size(); ++i) ASSERT_EQ(seqs[i], static_cast<int64_t>(i) + 1);
  }
  fan_out.Drain(absl::UnavailableError("shutting down"));
  for (auto& sink : sinks) sink->finished_.WaitForNotification();
  EXPECT_TRUE(absl::IsUnavailable(sinks[0]->status_));
}

TEST(FanOutTest, StalledWatcherDelaysNoOtherAndIsAbandoned) {
  LogFixture f;
  FanOut fan_out(f.log, "db");
  f.log.SetWake([&] { fan_out.Wake(); });
  FakeSink stalled(fan_out, /*reads=*/false), reader(fan_out);
  fan_out.Add({}, &stalled);
  fan_out.Add({}, &reader);
  f.Publish({MetricsEvent("jobs/a", 1)});
  ASSERT_TRUE(stalled.WaitFor(1));
  for (int step = 2; step <= 600; ++step) f.Publish({MetricsEvent("jobs/a", step)});
  ASSERT_TRUE(reader.WaitFor(600));
  EXPECT_EQ(stalled.seqs().size(), 1u);
  fan_out.Drain(absl::UnavailableError("shutting down"));
  stalled.finished_.WaitForNotification();
  reader.finished_.WaitForNotification();
  EXPECT_TRUE(stalled.abandoned_);
}

TEST(FanOutTest, DrainsInFlightWriteThenReportsReason) {
  LogFixture f;
  FakeClock clock;
  FanOut fan_out(f.log, "db", clock.Function());
  f.log.SetWake([&] { fan_out.Wake(); });
  FakeSink slow(fan_out, /*reads=*/false), idle(fan_out);
  fan_out.Add({}, &slow);
  f.Publish({MetricsEvent("jobs/a", 1)});
  ASSERT_TRUE(slow.WaitFor(1));
  fan_out.Add({}, &idle);
  fan_out.Drain(absl::UnavailableError("shutting down"));
  // The idle watcher is finished in the same pass, so the slow one was not abandoned there.
  idle.finished_.WaitForNotification();
  EXPECT_FALSE(slow.abandoned_);
  slow.Read();
  slow.finished_.WaitForNotification();
  EXPECT_TRUE(absl::IsUnavailable(slow.status_)) << slow.status_;
  EXPECT_FALSE(slow.abandoned_);
}

TEST(FanOutTest, AbandonsSlowWriteAtShutdown) {
  LogFixture f;
  FakeClock clock;
  FanOut fan_out(f.log, "db", clock.Function());
  f.log.SetWake([&] { fan_out.Wake(); });
  FakeSink stalled(fan_out, /*reads=*/false), idle(fan_out);
  fan_out.Add({}, &stalled);
  f.Publish({MetricsEvent("jobs/a", 1)});
  ASSERT_TRUE(stalled.WaitFor(1));
  fan_out.Add({}, &idle);
  fan_out.Drain(absl::UnavailableError("shutting down"));
  idle.finished_.WaitForNotification();
  clock.Advance(kDrainPatience);
  fan_out.Wake();
  stalled.finished_.WaitForNotification();
  EXPECT_TRUE(stalled.abandoned_);
}

TEST(FanOutTest, FinishesCancelledWatcherAfterItsMessage) {
  LogFixture f;
  FanOut fan_out(f.log, "db");
  f.log.SetWake([&] { fan_out.Wake(); });
  FakeSink sink(fan_out, /*reads=*/false);
  fan_out.Add({}, &sink);
  f.Publish({MetricsEvent("jobs/a", 1)});
  ASSERT_TRUE(sink.WaitFor(1));
  fan_out.Cancel(sink.watch_id);
  EXPECT_FALSE(sink.finished_.WaitForNotificationWithTimeout(absl::Milliseconds(20)));
  sink.Read();
  sink.finished_.WaitForNotification();
}

// A log whose oldest events are only in the database.
class HistoryTest : public ::testing::Test {
 protected:
  static constexpr int kInMemory = 100;

  HistoryTest() {
    f_.log.SetWake([this] { fan_out_.Wake(); });
    for (int step = 1; step <= 1000; ++step) f_.Publish({MetricsEvent("jobs/a", step)});
  }
  ~HistoryTest() override { f_.SetDatabaseAnswers(true); }

  LogFixture f_{{.events = kInMemory, .bytes = 1 << 20}};
  FanOut fan_out_{f_.log, "db"};
};

TEST_F(HistoryTest, CatchesUpFromDatabaseThenFollowsWithoutGap) {
  std::vector<std::unique_ptr<FakeSink>> sinks;
  for (int i = 0; i < 10; ++i) {
    sinks.push_back(std::make_unique<FakeSink>(fan_out_));
    fan_out_.Add({}, sinks.back().get());
  }
  for (int step = 1001; step <= 2000; ++step) f_.Publish({MetricsEvent("jobs/a", step)});
  for (auto& sink : sinks) {
    ASSERT_TRUE(sink->WaitFor(2000));
    const std::vector<int64_t> seqs = sink->seqs();
    for (size_t i = 0; i < seqs.size(); ++i) ASSERT_EQ(seqs[i], static_cast<int64_t>(i) + 1);
  }
  fan_out_.Drain(absl::UnavailableError("shutting down"));
  for (auto& sink : sinks) sink->finished_.WaitForNotification();
}

TEST_F(HistoryTest, BlockedDatabaseDelaysNoLiveWatcher) {
  f_.SetDatabaseAnswers(false);
  std::vector<std::unique_ptr<FakeSink>> behind;
  for (int i = 0; i < 5; ++i) {
    behind.push_back(std::make_unique<FakeSink>(fan_out_));
    fan_out_.Add({}, behind.back().get());
  }
  FakeSink live(fan_out_);
  fan_out_.Add({.start_seq = 1000}, &live);
  for (int step = 1001; step <= 1050; ++step) f_.Publish({MetricsEvent("jobs/a", step)});
  ASSERT_TRUE(live.WaitFor(50));
  EXPECT_EQ(behind[0]->seqs().size(), 0u);
  f_.SetDatabaseAnswers(true);
  for (auto& sink : behind) ASSERT_TRUE(sink->WaitFor(1050));
  fan_out_.Drain(absl::UnavailableError("shutting down"));
  for (auto& sink : behind) sink->finished_.WaitForNotification();
  live.finished_.WaitForNotification();
}

TEST_F(HistoryTest, FinishesWatcherWithoutWaitingForItsRead) {
  f_.SetDatabaseAnswers(false);
  FakeSink cancelled(fan_out_), drained(fan_out_);
  fan_out_.Add({}, &cancelled);
  fan_out_.Add({}, &drained);
  fan_out_.Cancel(cancelled.watch_id);
  cancelled.finished_.WaitForNotification();
  fan_out_.Drain(absl::UnavailableError("shutting down"));
  drained.finished_.WaitForNotification();
  EXPECT_TRUE(absl::IsUnavailable(drained.status_)) << drained.status_;
}

}  // namespace
}  // namespace trainerd::server
