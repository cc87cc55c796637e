// SPDX-License-Identifier: Apache-2.0
#include "server/events/event_log.h"

#include <numeric>

#include "tests/server/events/event_fixture.h"

namespace trainerd::server {
namespace {

std::vector<int64_t> Seqs(const EventSlice& slice) {
  std::vector<int64_t> seqs;
  for (const EventPtr& event : slice.events) seqs.push_back(event->seq);
  return seqs;
}

// The sequence numbers 1..last.
std::vector<int64_t> UpTo(int64_t last) {
  std::vector<int64_t> seqs(static_cast<size_t>(last));
  std::iota(seqs.begin(), seqs.end(), 1);
  return seqs;
}

TEST(EventLogTest, ReadsWholeChangesFromMemoryInOrder) {
  LogFixture f;
  f.Publish({MetricsEvent("jobs/a", 1), MetricsEvent("jobs/a", 2)});
  f.Publish({MetricsEvent("jobs/a", 3), MetricsEvent("jobs/a", 4)});
  EXPECT_EQ(Seqs(*f.log.Read("", 0, 1)), UpTo(2));
  EXPECT_EQ(f.log.Read("", 0, 1)->through, 2);
  EXPECT_EQ(Seqs(*f.log.ReadRecent(0, 3)), UpTo(4));
  EXPECT_EQ(Seqs(*f.log.ReadRecent(4, 10)), UpTo(0));
  EXPECT_EQ(f.log.ReadRecent(4, 10)->through, 4);
  EXPECT_EQ(f.OldReads(), 0);
}

TEST(EventLogTest, ReadsEvictedEventsFromDatabaseWithoutGap) {
  LogFixture f({.events = 4, .bytes = 1 << 20});
  for (int step = 1; step <= 10; ++step) f.Publish({MetricsEvent("jobs/a", step)});
  std::vector<int64_t> seen;
  int64_t at = 0;
  while (at < 10) {
    const auto slice = f.log.Read("", at, 3);
    for (int64_t seq : Seqs(*slice)) seen.push_back(seq);
    ASSERT_GT(slice->through, at);
    at = slice->through;
  }
  EXPECT_EQ(seen, UpTo(10));
  EXPECT_GT(f.OldReads(), 0);
}

TEST(EventLogTest, NeverReadsDatabaseForRecentEvents) {
  LogFixture f({.events = 4, .bytes = 1 << 20});
  for (int step = 1; step <= 10; ++step) f.Publish({MetricsEvent("jobs/a", step)});
  EXPECT_FALSE(f.log.ReadRecent(0, 10).has_value());
  EXPECT_FALSE(f.log.ReadRecent(5, 10).has_value());
  EXPECT_EQ(Seqs(*f.log.ReadRecent(6, 10)), (std::vector<int64_t>{7, 8, 9, 10}));
  EXPECT_EQ(f.OldReads(), 0);
}

TEST(EventLogTest, EndsOldEventsOfOneJobWhereMemoryBegins) {
  LogFixture f({.events = 2, .bytes = 1 << 20});
  f.Publish({MetricsEvent("jobs/a", 1)});
  for (int step = 1; step <= 5; ++step) f.Publish({MetricsEvent("jobs/b", step)});
  const auto slice = f.log.Read("jobs/a", 0, 10);
  EXPECT_EQ(Seqs(*slice), UpTo(1));
  EXPECT_EQ(slice->through, 4) << "the last two are in memory";
}

TEST(EventLogTest, EvictsByBytes) {
  LogFixture f({.events = 1000, .bytes = 200});
  for (int step = 1; step <= 50; ++step) f.Publish({MetricsEvent("jobs/a", step)});
  ASSERT_OK(f.log.Read("", 0, 10).status());
  EXPECT_EQ(f.OldReads(), 1);
}

}  // namespace
}  // namespace trainerd::server
