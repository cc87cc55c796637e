// SPDX-License-Identifier: Apache-2.0
#include "server/ledger/checkpoints/retention.h"

#include <random>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/base/time.h"
#include "server/ledger/checkpoints/best.h"

namespace trainerd::server {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);

std::string Name(int64_t step) { return absl::StrCat("jobs/a/checkpoints/", step); }

CheckpointRow Row(int64_t number, int64_t step) {
  CheckpointRow row{.number = number};
  row.checkpoint.set_name(Name(step));
  row.checkpoint.set_job("jobs/a");
  row.checkpoint.set_step(step);
  row.checkpoint.set_verified(true);
  row.checkpoint.set_size_bytes(100);
  *row.checkpoint.mutable_create_time() = ToProto(kNow - absl::Hours(10) + absl::Hours(number));
  return row;
}

// Newest first, at these steps.
RetentionInput Input(const std::vector<int64_t>& steps, int keep_last = 1) {
  RetentionInput input{.now = kNow};
  for (size_t i = 0; i < steps.size(); ++i)
    input.rows.push_back(Row(static_cast<int64_t>(steps.size() - i), steps[i]));
  input.rules.set_keep_last(keep_last);
  if (!steps.empty()) input.resume_point = Name(steps.front());
  return input;
}

std::vector<int64_t> Removed(const RetentionInput& input) {
  std::vector<int64_t> steps;
  for (const RetentionItem& item : DecideRetention(input)) {
    if (item.removed) steps.push_back(item.checkpoint.step());
  }
  return steps;
}

std::string ReasonOf(const RetentionInput& input, int64_t step) {
  for (const RetentionItem& item : DecideRetention(input)) {
    if (item.checkpoint.step() == step)
      return absl::StrCat(item.removed ? "removed " : "kept ", RetentionReasonName(item.reason));
  }
  return "absent";
}

TEST(RetentionTest, KeepsNewestAndThoseInUse) {
  RetentionInput input = Input({50, 40, 30, 20, 10}, 2);
  EXPECT_THAT(Removed(input), ElementsAre(30, 20, 10));
  input.in_use = {Name(20)};
  EXPECT_THAT(Removed(input), ElementsAre(30, 10));
  EXPECT_EQ(ReasonOf(input, 20), "kept IN_USE");
  EXPECT_EQ(ReasonOf(input, 50), "kept NEWEST");
  EXPECT_EQ(ReasonOf(input, 40), "kept RETENTION");
  EXPECT_EQ(ReasonOf(input, 10), "removed RETENTION");
}

TEST(RetentionTest, NeverRemovesTheResumePoint) {
  RetentionInput input = Input({30, 20, 10});
  input.rows[0].checkpoint.set_superseded(true);
  input.rows[1].checkpoint.set_superseded(true);
  input.resume_point = Name(10);
  EXPECT_THAT(Removed(input), ElementsAre(20));
}

TEST(RetentionTest, KeepsAnUnverifiedCheckpointUntilANewerVerifiedOneExists) {
  RetentionInput input = Input({20, 10});
  input.rows[0].checkpoint.set_verified(false);
  input.resume_point = Name(10);
  EXPECT_THAT(Removed(input), IsEmpty());
  input.rows.insert(input.rows.begin(), Row(3, 30));
  input.resume_point = Name(30);
  EXPECT_THAT(Removed(input), ElementsAre(20, 10));
}

TEST(RetentionTest, KeepsTheFirstCheckpointAtOrAfterEachMultiple) {
  RetentionInput input = Input({460, 420, 400, 390, 250, 130, 110, 90});
  input.rules.set_keep_every_steps(100);
  EXPECT_THAT(Removed(input), ElementsAre(420, 130, 90));
  input.rules.set_keep_every_steps(250);
  EXPECT_THAT(Removed(input), ElementsAre(420, 400, 390, 130, 110, 90));
}

TEST(RetentionTest, OfTwoAttemptsTheIntervalKeepsTheOneOnTheLineage) {
  RetentionInput input = Input({200, 100});
  CheckpointRow superseded = Row(0, 100);
  superseded.checkpoint.set_name("jobs/a/checkpoints/100-old");
  superseded.checkpoint.set_superseded(true);
  input.rows.push_back(superseded);
  input.rules.set_keep_every_steps(100);
  std::vector<std::string> removed;
  for (const RetentionItem& item : DecideRetention(input)) {
    if (item.removed) removed.push_back(item.checkpoint.name());
  }
  EXPECT_THAT(removed, ElementsAre("jobs/a/checkpoints/100-old"));
}

TEST(RetentionTest, KeepsTheBestOnes) {
  RetentionInput input = Input({50, 40, 30, 20, 10});
  input.best = Name(20);
  input.ranked = {Name(20), Name(40), Name(10)};
  input.rules.set_keep_best(2);
  EXPECT_THAT(Removed(input), ElementsAre(30, 10));
  EXPECT_EQ(ReasonOf(input, 40), "kept BEST");
  input.rules.set_keep_best(0);
  EXPECT_THAT(Removed(input), ElementsAre(40, 30, 10)) << "the best one is always kept";
  input.rules.set_keep_best(100);
  EXPECT_THAT(Removed(input), ElementsAre(30));
}

TEST(RetentionTest, ExpiryWinsOverTheRulesAndLosesToAPin) {
  RetentionInput input = Input({50, 40, 30, 20}, 10);
  *input.rows[1].checkpoint.mutable_expire_time() = ToProto(kNow);
  *input.rows[2].checkpoint.mutable_expire_time() = ToProto(kNow + absl::Nanoseconds(1));
  *input.rows[3].checkpoint.mutable_expire_time() = ToProto(kNow - absl::Hours(1));
  EXPECT_THAT(Removed(input), ElementsAre(40, 20));
  EXPECT_EQ(ReasonOf(input, 40), "removed EXPIRED");
  input.rows[3].checkpoint.set_pinned(true);
  EXPECT_THAT(Removed(input), ElementsAre(40));
  EXPECT_EQ(ReasonOf(input, 20), "kept PINNED");
}

TEST(RetentionTest, NothingExpiresTheNewestVerifiedOne) {
  RetentionInput input = Input({20, 10}, 10);
  for (CheckpointRow& row : input.rows)
    *row.checkpoint.mutable_expire_time() = ToProto(kNow - absl::Hours(1));
  EXPECT_THAT(Removed(input), ElementsAre(10));
}

TEST(RetentionTest, TtlAppliesToEndedJobsAlone) {
  // Created 9, 8 and 7 hours ago.
  RetentionInput input = Input({30, 20, 10}, 10);
  *input.rules.mutable_ttl() = ToProto(absl::Hours(8));
  EXPECT_THAT(Removed(input), IsEmpty());
  input.ended = true;
  EXPECT_THAT(Removed(input), ElementsAre(20, 10)) << "the age is at least the limit";
  input.rules.clear_ttl();
  EXPECT_THAT(Removed(input), IsEmpty());
}

TEST(RetentionTest, MaxBytesRemovesTheOldestThatTheRulesAloneKeep) {
  RetentionInput input = Input({50, 40, 30, 20, 10}, 10);
  input.rules.set_max_bytes(300);
  EXPECT_THAT(Removed(input), ElementsAre(20, 10));
  input.rows.back().checkpoint.set_pinned(true);
  EXPECT_THAT(Removed(input), ElementsAre(30, 20)) << "the pinned one counts";
  input.rules.set_max_bytes(1);
  EXPECT_THAT(Removed(input), ElementsAre(40, 30, 20)) << "what nothing removes stays";
  input.rules.set_max_bytes(0);
  EXPECT_THAT(Removed(input), IsEmpty());
}

TEST(RetentionTest, IgnoresDeletedOnes) {
  RetentionInput input = Input({30, 20, 10}, 2);
  input.rows[1].checkpoint.set_deleted(true);
  EXPECT_THAT(Removed(input), IsEmpty());
  EXPECT_EQ(DecideRetention(input).size(), 2u);
}

// Random histories of a job, with random rules, pins, expiries and users.
class RandomHistory {
 public:
  explicit RandomHistory(uint32_t seed) : random_(seed) {
    const int count = Below(13);
    for (int i = 0; i < count; ++i) AddRow(i);
    RetentionInput& input = input_;
    input.now = kNow;
    input.rules.set_keep_last(1 + Below(4));
    if (Chance(2)) input.rules.set_keep_every_steps(1 + Below(60));
    input.rules.set_keep_best(Below(4));
    if (Chance(3)) input.rules.set_max_bytes(1 + Below(500));
    if (Chance(3)) *input.rules.mutable_ttl() = ToProto(absl::Hours(1 + Below(10)));
    input.ended = Chance(2);
    v1::BestConfig best;
    best.set_metric("m");
    best.set_mode(Chance(2) ? v1::BestConfig::MODE_MAX : v1::BestConfig::MODE_MIN);
    input.ranked = RankByBest(input.rows, best, "");
    if (!input.ranked.empty()) input.best = input.ranked.front();
  }
  const RetentionInput& input() const { return input_; }

 private:
  int Below(int limit) { return static_cast<int>(random_() % static_cast<uint32_t>(limit)); }
  bool Chance(int one_in) { return Below(one_in) == 0; }

  void AddRow(int number) {
    CheckpointRow row = Row(number + 1, Below(100));
    v1::Checkpoint& checkpoint = row.checkpoint;
    checkpoint.set_name(absl::StrCat("jobs/a/checkpoints/", number));
    checkpoint.set_verified(!Chance(4));
    checkpoint.set_superseded(Chance(4));
    checkpoint.set_deleted(Chance(8));
    checkpoint.set_pinned(Chance(5));
    checkpoint.set_size_bytes(Below(200));
    if (Chance(3))
      *checkpoint.mutable_expire_time() = ToProto(kNow + absl::Minutes(Below(100) - 50));
    if (Chance(2)) {
      checkpoint.add_metrics()->set_name("m");
      checkpoint.mutable_metrics(0)->set_value(Below(5));
    }
    if (Chance(6)) input_.in_use.insert(checkpoint.name());
    if (checkpoint.verified() && !checkpoint.superseded() && !checkpoint.deleted() &&
        (input_.resume_point.empty() || checkpoint.step() >= resume_step_)) {
      input_.resume_point = checkpoint.name();
      resume_step_ = checkpoint.step();
    }
    input_.rows.insert(input_.rows.begin(), std::move(row));
  }

  std::mt19937 random_;
  RetentionInput input_;
  int64_t resume_step_ = 0;
};

// Newest verified, best, pinned, in use (by an attempt, an evaluation, a download, a verification),
// resume base: nothing removes them, whatever the rules.
TEST(RetentionTest, PropertyNeverRemovesWhatIsProtected) {
  int64_t removed = 0, kept = 0;
  for (uint32_t seed = 0; seed < 50'000; ++seed) {
    const RandomHistory history(seed);
    const RetentionInput& input = history.input();
    std::string newest_verified;
    for (const CheckpointRow& row : input.rows) {
      if (row.checkpoint.verified() && !row.checkpoint.deleted() && newest_verified.empty())
        newest_verified = row.checkpoint.name();
    }
    for (const RetentionItem& item : DecideRetention(input)) {
      const std::string& name = item.checkpoint.name();
      ++(item.removed ? removed : kept);
      ASSERT_FALSE(item.checkpoint.deleted()) << "seed " << seed;
      if (!item.removed) continue;
      ASSERT_NE(name, newest_verified) << "seed " << seed;
      ASSERT_NE(name, input.resume_point) << "seed " << seed;
      ASSERT_NE(name, input.best) << "seed " << seed;
      ASSERT_FALSE(item.checkpoint.pinned()) << "seed " << seed;
      ASSERT_FALSE(input.in_use.contains(name)) << "seed " << seed;
    }
  }
  // The histories exercise both.
  EXPECT_GT(removed, 50'000);
  EXPECT_GT(kept, 50'000);
}

// What one decision keeps, the next one keeps too while nothing changes: a removal never starts
// another one.
TEST(RetentionTest, PropertyRemovalsAreStable) {
  for (uint32_t seed = 0; seed < 20'000; ++seed) {
    RetentionInput input = RandomHistory(seed).input();
    std::set<std::string> gone;
    for (const RetentionItem& item : DecideRetention(input)) {
      if (item.removed) gone.insert(item.checkpoint.name());
    }
    for (CheckpointRow& row : input.rows) {
      if (gone.contains(row.checkpoint.name())) row.checkpoint.set_deleted(true);
    }
    std::erase_if(input.ranked, [&](const std::string& name) { return gone.contains(name); });
    for (const RetentionItem& item : DecideRetention(input))
      ASSERT_FALSE(item.removed) << "seed " << seed << ": " << item.checkpoint.name();
  }
}

}  // namespace
}  // namespace trainerd::server
