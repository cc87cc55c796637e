// SPDX-License-Identifier: Apache-2.0
// Expectation (event.proto): values of the last step, sums of tokens, `merged` = how many steps
// stand in one; nothing but metrics is held back.
#include "server/events/decimator.h"

#include "tests/server/events/event_fixture.h"

namespace trainerd::server {
namespace {

class DecimatorTest : public ::testing::Test {
 protected:
  void Add(v1::Event event) {
    event.set_seq(++seq_);
    auto record = std::make_shared<EventRecord>();
    record->seq = seq_;
    record->job = event.job();
    record->type = EventType(event);
    record->bytes = std::make_shared<const std::string>(event.SerializeAsString());
    decimator_.Add(record, clock_.Now(), &out_);
  }
  std::vector<v1::Event> Take() {
    std::vector<v1::Event> events;
    for (const EventPtr& event : out_) events.emplace_back().ParseFromString(*event->bytes);
    out_.clear();
    return events;
  }
  FakeClock clock_;
  Decimator decimator_{absl::Seconds(1)};
  std::vector<EventPtr> out_;
  int64_t seq_ = 0;
};

TEST_F(DecimatorTest, MergesStepsWithinInterval) {
  Add(MetricsEvent("jobs/a", 1));
  decimator_.FlushIfDue(clock_.Now(), &out_);
  ASSERT_EQ(Take().size(), 1u) << "the first goes out at once";
  for (int step = 2; step <= 5; ++step) Add(MetricsEvent("jobs/a", step));
  decimator_.FlushIfDue(clock_.Now() + absl::Milliseconds(900), &out_);
  EXPECT_TRUE(Take().empty());
  decimator_.FlushIfDue(clock_.Now() + absl::Seconds(1), &out_);
  const std::vector<v1::Event> events = Take();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].metrics().step(), 5);
  EXPECT_EQ(events[0].metrics().merged(), 4);
  EXPECT_EQ(events[0].metrics().tokens(), 40);
  EXPECT_EQ(events[0].metrics().target_tokens(), 16);
  EXPECT_DOUBLE_EQ(events[0].metrics().loss(), 0.2);
  EXPECT_EQ(events[0].seq(), 5);
}

TEST_F(DecimatorTest, KeepsTheMeansOverThePairsOfTheLastStep) {
  Add(MetricsEvent("jobs/a", 1));
  for (int step = 2; step <= 4; ++step) {
    v1::Event event = MetricsEvent("jobs/a", step);
    event.mutable_metrics()->mutable_preference()->set_margin(0.1 * step);
    event.mutable_metrics()->mutable_preference()->set_accuracy(0.25 * step);
    Add(event);
  }
  decimator_.FlushIfDue(clock_.Now() + absl::Seconds(1), &out_);
  const std::vector<v1::Event> events = Take();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_DOUBLE_EQ(events[0].metrics().preference().margin(), 0.4);
  EXPECT_DOUBLE_EQ(events[0].metrics().preference().accuracy(), 1.0);
}

TEST_F(DecimatorTest, PassesOtherEventsAfterEarlierMetrics) {
  Add(MetricsEvent("jobs/a", 1));
  Add(MetricsEvent("jobs/b", 7));
  Add(StateEvent("jobs/a", v1::Job::SUCCEEDED));
  const std::vector<v1::Event> events = Take();
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(events[0].metrics().step(), 1);
  EXPECT_EQ(events[1].metrics().step(), 7);
  EXPECT_EQ(events[2].state_changed().to_state(), v1::Job::SUCCEEDED);
  EXPECT_FALSE(decimator_.holds_back());
}

TEST_F(DecimatorTest, MergesEachJobSeparately) {
  for (int step = 1; step <= 3; ++step) {
    Add(MetricsEvent("jobs/a", step));
    Add(MetricsEvent("jobs/b", step * 10));
  }
  decimator_.Flush(clock_.Now(), &out_);
  const std::vector<v1::Event> events = Take();
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].metrics().step(), 3);
  EXPECT_EQ(events[1].metrics().step(), 30);
}

TEST_F(DecimatorTest, NeverMergesAttempts) {
  Add(MetricsEvent("jobs/a", 5, /*attempt=*/1));
  Add(MetricsEvent("jobs/a", 4, /*attempt=*/2));
  EXPECT_EQ(Take().size(), 1u);
  decimator_.Flush(clock_.Now(), &out_);
  const std::vector<v1::Event> rest = Take();
  ASSERT_EQ(rest.size(), 1u);
  EXPECT_EQ(rest[0].metrics().merged(), 0) << "alone it is sent as it came";
}

}  // namespace
}  // namespace trainerd::server
