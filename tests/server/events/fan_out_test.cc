// SPDX-License-Identifier: Apache-2.0
// The thread around the watchers: one message outstanding each, a watcher that does not read costs
// nobody anything, everything ends cleanly.
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

TEST(FanOutTest, EveryWatcherGetsEveryEventInOrderWhileEventsArePublished) {
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
  fan_out.Drain(absl::UnavailableError("leaving"));
  for (auto& sink : sinks) sink->finished_.WaitForNotification();
  EXPECT_TRUE(absl::IsUnavailable(sinks[0]->status_));
}

TEST(FanOutTest, WatcherThatDoesNotReadHoldsUpNobodyAndIsAbandonedAtTheEnd) {
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
  fan_out.Drain(absl::UnavailableError("leaving"));
  stalled.finished_.WaitForNotification();
  reader.finished_.WaitForNotification();
  EXPECT_TRUE(stalled.abandoned_);
}

TEST(FanOutTest, MessageOnItsWayWhenTheDaemonLeavesIsWaitedForAndTheWatcherHearsWhy) {
  LogFixture f;
  FakeClock clock;
  FanOut fan_out(f.log, "db", clock.Function());
  f.log.SetWake([&] { fan_out.Wake(); });
  FakeSink slow(fan_out, /*reads=*/false), idle(fan_out);
  fan_out.Add({}, &slow);
  f.Publish({MetricsEvent("jobs/a", 1)});
  ASSERT_TRUE(slow.WaitFor(1));
  fan_out.Add({}, &idle);
  fan_out.Drain(absl::UnavailableError("leaving"));
  // Whoever has been drained after it has seen that nobody was abandoned.
  idle.finished_.WaitForNotification();
  EXPECT_FALSE(slow.abandoned_);
  slow.Read();
  slow.finished_.WaitForNotification();
  EXPECT_TRUE(absl::IsUnavailable(slow.status_)) << slow.status_;
  EXPECT_FALSE(slow.abandoned_);
}

TEST(FanOutTest, MessageThatTakesTooLongIsAbandonedWhenTheDaemonLeaves) {
  LogFixture f;
  FakeClock clock;
  FanOut fan_out(f.log, "db", clock.Function());
  f.log.SetWake([&] { fan_out.Wake(); });
  FakeSink stalled(fan_out, /*reads=*/false), idle(fan_out);
  fan_out.Add({}, &stalled);
  f.Publish({MetricsEvent("jobs/a", 1)});
  ASSERT_TRUE(stalled.WaitFor(1));
  fan_out.Add({}, &idle);
  fan_out.Drain(absl::UnavailableError("leaving"));
  idle.finished_.WaitForNotification();
  clock.Advance(kDrainPatience);
  fan_out.Wake();
  stalled.finished_.WaitForNotification();
  EXPECT_TRUE(stalled.abandoned_);
}

TEST(FanOutTest, CancelledWatcherIsFinishedOnlyAfterItsMessage) {
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
  while (fan_out.watchers() > 0) std::this_thread::yield();
}

}  // namespace
}  // namespace trainerd::server
