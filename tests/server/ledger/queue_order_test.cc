// SPDX-License-Identifier: Apache-2.0
// Priority, age and the order of the queue; the database reads it in the same order.
#include "server/ledger/queue_order.h"

#include <algorithm>
#include <random>

#include "absl/strings/str_cat.h"
#include "tests/server/test_env.h"

namespace trainerd::server {
namespace {

using Job = v1::Job;

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);

TEST(QueueOrderTest, AgeRaisesThePriorityByOnePerUnitUpToOneHundred) {
  const absl::Duration hour = absl::Hours(1);
  EXPECT_EQ(EffectivePriority(5, absl::Hours(30), absl::ZeroDuration()), 5) << "no aging";
  EXPECT_EQ(EffectivePriority(5, absl::Minutes(59), hour), 5);
  EXPECT_EQ(EffectivePriority(5, hour, hour), 6);
  EXPECT_EQ(EffectivePriority(-100, absl::Hours(150), hour), 50);
  EXPECT_EQ(EffectivePriority(5, absl::Hours(24 * 365), hour), 100);
  EXPECT_EQ(EffectivePriority(100, hour, hour), 100);
  EXPECT_EQ(EffectivePriority(5, -hour, hour), 5) << "a clock that was set back";
  EXPECT_EQ(EffectivePriority(5, absl::InfiniteDuration(), hour), 100);
}

TEST(QueueOrderTest, AJobThatDoesNotWaitHasItsOwnPriority) {
  JobRecord record;
  record.job.mutable_config()->set_priority(7);
  EXPECT_EQ(EffectivePriority(record, kNow, absl::Seconds(1)), 7);
  *record.ledger.mutable_queued_since() = ToProto(kNow - absl::Seconds(3));
  EXPECT_EQ(EffectivePriority(record, kNow, absl::Seconds(1)), 10);
}

TEST(QueueOrderTest, AgedJobPassesAYoungerOneOfHigherPriority) {
  const QueueEntry old{
      .id = "old", .number = 2, .priority = 0, .order = 2, .queued_since = kNow - absl::Hours(6)};
  const QueueEntry young{
      .id = "young", .number = 9, .priority = 5, .order = 9, .queued_since = kNow};
  EXPECT_TRUE(ComesFirst(young, old, kNow, absl::ZeroDuration()));
  EXPECT_TRUE(ComesFirst(old, young, kNow, absl::Hours(1)));
  EXPECT_TRUE(ComesFirst(young, old, kNow, absl::Hours(2)));
}

TEST(QueueOrderTest, AJobThatWasSentBackIsBehindItsEquals) {
  const QueueEntry back{.id = "back", .number = 1, .order = 40};
  const QueueEntry waited{.id = "waited", .number = 3, .order = 20};
  const QueueEntry later{.id = "later", .number = 4, .order = 41};
  EXPECT_TRUE(ComesFirst(waited, back, kNow, absl::ZeroDuration()));
  EXPECT_TRUE(ComesFirst(back, later, kNow, absl::ZeroDuration()));
}

// The two implementations of the order, on queues of many ages, priorities and orders.
TEST(QueueOrderTest, TheDatabaseReadsTheQueueInThisOrder) {
  TempDir dir;
  FakeClock clock;
  auto opened = Store::Open(
      {.path = dir / "trainerd.db", .clock = clock.Function(), .steady_clock = clock.Function()});
  ASSERT_OK(opened.status());
  Store& store = **opened;
  std::mt19937 random(7);
  for (int i = 0; i < 60; ++i) {
    JobRecord record = AddJob(store, absl::StrCat("j", i), dir / "r");
    ASSERT_OK(store.Change([&](Transaction& t) {
      record.job.mutable_config()->set_priority(static_cast<int>(random() % 12) * 10 - 10);
      // Some are behind others; some do not age.
      if (i % 4 == 0) record.ledger.set_queue_order(1'000 + static_cast<int>(random() % 9));
      record.ledger.clear_queued_since();
      if (i % 5 != 0)
        *record.ledger.mutable_queued_since() =
            ToProto(clock.Now() - absl::Seconds(static_cast<int>(random() % 90)));
      return StoreJob(t.db(), &record);
    }));
  }
  ASSERT_OK(store.Change([&](Transaction& t) {
    return t.db().Execute("UPDATE jobs SET owner = iif(number % 3 = 0, 'alice', 'bob')");
  }));
  for (const absl::Duration aging : {absl::ZeroDuration(), absl::Seconds(1), absl::Seconds(7)}) {
    auto entries = store.Read([&](Connection& db) {
      return ListQueue(db, {.device = "auto", .now = clock.Now(), .aging = aging}, 1'000);
    });
    ASSERT_OK(entries.status());
    ASSERT_EQ(entries->size(), 60u);
    for (size_t i = 1; i < entries->size(); ++i) {
      EXPECT_TRUE(ComesFirst((*entries)[i - 1], (*entries)[i], clock.Now(), aging))
          << (*entries)[i - 1].id << " " << (*entries)[i].id << " " << aging;
    }
    for (size_t i = 0; i < entries->size(); i += 7) {
      auto before = store.Read([&](Connection& db) -> absl::StatusOr<int64_t> {
        absl::StatusOr<JobRecord> record = LoadJob(db, (*entries)[i].id);
        if (!record.ok()) return record.status();
        return JobsBefore(db, {.device = "auto", .now = clock.Now(), .aging = aging}, *record);
      });
      ASSERT_OK(before.status());
      EXPECT_EQ(*before, static_cast<int64_t>(i)) << aging;
    }
  }
  auto of_bob = store.Read([&](Connection& db) {
    return ListQueue(
        db, {.device = "auto", .now = clock.Now(), .without_owners = {"alice", "carol"}}, 1'000);
  });
  ASSERT_OK(of_bob.status());
  EXPECT_EQ(of_bob->size(), 40u);
  EXPECT_TRUE(std::all_of(of_bob->begin(), of_bob->end(),
                          [](const QueueEntry& entry) { return entry.owner == "bob"; }));
}

}  // namespace
}  // namespace trainerd::server
