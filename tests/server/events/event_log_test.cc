// SPDX-License-Identifier: Apache-2.0
#include "server/events/event_log.h"

#include "tests/server/events/event_fixture.h"

namespace trainerd::server {
namespace {

std::vector<int64_t> Seqs(const std::vector<EventPtr>& events) {
  std::vector<int64_t> seqs;
  for (const EventPtr& event : events) seqs.push_back(event->seq);
  return seqs;
}

TEST(EventLogTest, ReadsFromMemoryInOrderAndWholeChanges) {
  LogFixture f;
  f.Publish({MetricsEvent("jobs/a", 1), MetricsEvent("jobs/a", 2)});
  f.Publish({MetricsEvent("jobs/a", 3), MetricsEvent("jobs/a", 4)});
  int64_t through = 0;
  EXPECT_EQ(Seqs(*f.log.Read("", 0, 1, &through)), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(through, 2);
  EXPECT_EQ(Seqs(*f.log.Read("", 0, 3, &through)), (std::vector<int64_t>{1, 2, 3, 4}));
  EXPECT_EQ(Seqs(*f.log.Read("", 4, 10, &through)), (std::vector<int64_t>{}));
  EXPECT_EQ(through, 4);
  EXPECT_EQ(f.old_reads, 0);
}

TEST(EventLogTest, WhatMemoryForgotComesFromTheDatabaseWithoutAGap) {
  LogFixture f({.events = 4, .bytes = 1 << 20});
  for (int step = 1; step <= 10; ++step) f.Publish({MetricsEvent("jobs/a", step)});
  std::vector<int64_t> seen;
  int64_t at = 0;
  while (at < 10) {
    int64_t through = at;
    auto events = f.log.Read("", at, 3, &through);
    for (int64_t seq : Seqs(*events)) seen.push_back(seq);
    ASSERT_GT(through, at);
    at = through;
  }
  EXPECT_EQ(seen, (std::vector<int64_t>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}));
  EXPECT_GT(f.old_reads, 0);
}

TEST(EventLogTest, OldEventsOfOneJobEndWhereMemoryBegins) {
  LogFixture f({.events = 2, .bytes = 1 << 20});
  f.Publish({MetricsEvent("jobs/a", 1)});
  for (int step = 1; step <= 5; ++step) f.Publish({MetricsEvent("jobs/b", step)});
  int64_t through = 0;
  auto events = f.log.Read("jobs/a", 0, 10, &through);
  EXPECT_EQ(Seqs(*events), (std::vector<int64_t>{1}));
  EXPECT_EQ(through, 4) << "the last two are in memory";
}

TEST(EventLogTest, ForgetsByBytesToo) {
  LogFixture f({.events = 1000, .bytes = 200});
  for (int step = 1; step <= 50; ++step) f.Publish({MetricsEvent("jobs/a", step)});
  int64_t through = 0;
  ASSERT_OK(f.log.Read("", 0, 10, &through).status());
  EXPECT_EQ(f.old_reads, 1);
}

}  // namespace
}  // namespace trainerd::server
