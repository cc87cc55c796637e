// SPDX-License-Identifier: Apache-2.0
// The expectations follow the comments of RemoteTriggerConfig.
#include "server/ledger/evaluations/trigger.h"

#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "proto/base/time.h"

namespace trainerd::server {
namespace {

using Evaluation = v1::Evaluation;
using Kind = TriggerPoint::Kind;

const absl::Time kNow = absl::FromUnixSeconds(1'000);

v1::RemoteTriggerConfig When(int64_t every_steps = 0, absl::Duration gap = absl::ZeroDuration()) {
  v1::RemoteTriggerConfig when;
  when.set_every_steps(every_steps);
  *when.mutable_min_gap() = ToProto(gap);
  return when;
}

TEST(DecideTriggerTest, TakesTheFirstCheckpointAfterEachInterval) {
  const v1::RemoteTriggerConfig when = When(100);
  const auto at = [&](int64_t step, int64_t last) {
    return DecideTrigger(when, {.kind = Kind::kPublished, .step = step, .now = kNow},
                         {.interval_step = last});
  };
  EXPECT_EQ(at(99, 0), Evaluation::TRIGGER_UNSPECIFIED);
  EXPECT_EQ(at(100, 0), Evaluation::INTERVAL);
  EXPECT_EQ(at(219, 120), Evaluation::TRIGGER_UNSPECIFIED);
  EXPECT_EQ(at(220, 120), Evaluation::INTERVAL);
  EXPECT_EQ(at(50, 120), Evaluation::TRIGGER_UNSPECIFIED) << "of an older step";
}

TEST(DecideTriggerTest, EachKeyTriggersByItself) {
  for (int set = 0; set < 16; ++set) {
    v1::RemoteTriggerConfig when = When((set & 1) != 0 ? 10 : 0);
    when.set_on_best((set & 2) != 0);
    when.set_at_start((set & 4) != 0);
    when.set_at_end((set & 8) != 0);
    const auto decide = [&](Kind kind) {
      return DecideTrigger(when, {.kind = kind, .step = 10, .now = kNow}, {});
    };
    const auto expected = [&](int bit, Evaluation::Trigger trigger) {
      return (set & bit) != 0 ? trigger : Evaluation::TRIGGER_UNSPECIFIED;
    };
    EXPECT_EQ(decide(Kind::kPublished), expected(1, Evaluation::INTERVAL)) << set;
    EXPECT_EQ(decide(Kind::kBest), expected(2, Evaluation::BEST)) << set;
    EXPECT_EQ(decide(Kind::kStart), expected(4, Evaluation::START)) << set;
    EXPECT_EQ(decide(Kind::kEnd), expected(8, Evaluation::END)) << set;
  }
}

TEST(DecideTriggerTest, AModelIsTriggeredOnce) {
  v1::RemoteTriggerConfig when = When(1);
  when.set_on_best(true);
  when.set_at_start(true);
  when.set_at_end(true);
  for (const Kind kind : {Kind::kStart, Kind::kPublished, Kind::kBest, Kind::kEnd}) {
    EXPECT_EQ(DecideTrigger(when, {.kind = kind, .step = 5, .now = kNow}, {.triggered = true}),
              Evaluation::TRIGGER_UNSPECIFIED);
  }
}

TEST(DecideTriggerTest, KeepsTheGapExceptAtStartAndEnd) {
  v1::RemoteTriggerConfig when = When(1, absl::Minutes(10));
  when.set_on_best(true);
  when.set_at_start(true);
  when.set_at_end(true);
  const auto decide = [&](Kind kind, absl::Duration since) {
    return DecideTrigger(when, {.kind = kind, .step = 5, .now = kNow}, {.gap_since = kNow - since});
  };
  const absl::Duration short_gap = absl::Minutes(10) - absl::Microseconds(1);
  EXPECT_EQ(decide(Kind::kPublished, short_gap), Evaluation::TRIGGER_UNSPECIFIED);
  EXPECT_EQ(decide(Kind::kBest, short_gap), Evaluation::TRIGGER_UNSPECIFIED);
  EXPECT_EQ(decide(Kind::kPublished, absl::Minutes(10)), Evaluation::INTERVAL);
  EXPECT_EQ(decide(Kind::kBest, absl::Minutes(10)), Evaluation::BEST);
  EXPECT_EQ(decide(Kind::kStart, short_gap), Evaluation::START);
  EXPECT_EQ(decide(Kind::kEnd, short_gap), Evaluation::END);
}

// Over random runs: two triggers are never closer than interval and gap allow, and none is missed.
TEST(DecideTriggerTest, RandomRunsKeepIntervalAndGap) {
  std::mt19937 random(7);
  const auto uniform = [&](int low, int high) {
    return std::uniform_int_distribution<int>(low, high)(random);
  };
  for (int run = 0; run < 2'000; ++run) {
    const int every = uniform(1, 50);
    const absl::Duration gap = absl::Seconds(uniform(0, 3) == 0 ? 0 : uniform(1, 60));
    const v1::RemoteTriggerConfig when = When(every, gap);
    TriggerHistory history;
    absl::Time now = kNow;
    int64_t step = 0;
    for (int checkpoint = 0; checkpoint < 40; ++checkpoint) {
      step += uniform(1, 20);
      now += absl::Seconds(uniform(0, 20));
      const bool due = step - history.interval_step >= every &&
                       (!history.gap_since || now - *history.gap_since >= gap);
      const Evaluation::Trigger trigger =
          DecideTrigger(when, {.kind = Kind::kPublished, .step = step, .now = now}, history);
      ASSERT_EQ(trigger == Evaluation::INTERVAL, due) << run << " step " << step;
      if (!due) continue;
      history.interval_step = step;
      history.gap_since = now;
    }
  }
}

}  // namespace
}  // namespace trainerd::server
