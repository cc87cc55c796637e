// SPDX-License-Identifier: Apache-2.0
// Each call in each state; and a model check: every interleaving of two evaluators, a third one
// without a lease, cancellations, the clock and lost answers, up to a depth.
#include "server/ledger/evaluations/evaluation_state.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace trainerd::server {
namespace {

using Evaluation = v1::Evaluation;
using Verdict = EvaluationVerdict;

const absl::Time kNow = absl::FromUnixSeconds(1'000);

EvaluationState State(Evaluation::State state, const std::string& lease = "",
                      absl::Duration lease_left = absl::ZeroDuration()) {
  return {.state = state,
          .lease = lease,
          .lease_end = kNow + lease_left,
          .deadline = kNow + absl::Hours(1)};
}

TEST(EvaluationStateTest, OffersWhatIsTriggeredOrWhoseLeaseHasExpired) {
  EXPECT_TRUE(IsOnOffer(State(Evaluation::TRIGGERED), kNow));
  EXPECT_FALSE(IsOnOffer(State(Evaluation::LEASED, "a", absl::Microseconds(1)), kNow));
  EXPECT_TRUE(IsOnOffer(State(Evaluation::LEASED, "a"), kNow));
  for (const Evaluation::State ended :
       {Evaluation::COMPLETED, Evaluation::FAILED, Evaluation::EXPIRED, Evaluation::CANCELLED})
    EXPECT_FALSE(IsOnOffer(State(ended), kNow));
  EXPECT_FALSE(IsOnOffer(State(Evaluation::TRIGGERED), kNow + absl::Hours(1)));
}

TEST(EvaluationStateTest, RenewsTheNewestLeaseOnly) {
  EXPECT_EQ(DecideRenew(State(Evaluation::LEASED, "a", absl::Seconds(9)), "a", kNow),
            Verdict::kAccepted);
  EXPECT_EQ(DecideRenew(State(Evaluation::LEASED, "a"), "a", kNow), Verdict::kAccepted)
      << "it has expired and was not given again";
  EXPECT_EQ(DecideRenew(State(Evaluation::LEASED, "b", absl::Seconds(9)), "a", kNow),
            Verdict::kLeaseLost);
  EXPECT_EQ(DecideRenew(State(Evaluation::TRIGGERED), "", kNow), Verdict::kLeaseLost)
      << "no lease was given";
  EXPECT_EQ(DecideRenew(State(Evaluation::CANCELLED, "a"), "a", kNow), Verdict::kEnded);
  EXPECT_EQ(DecideRenew(State(Evaluation::LEASED, "a"), "a", kNow + absl::Hours(1)),
            Verdict::kEnded);
}

TEST(EvaluationStateTest, AcceptsAReportWithoutALeaseWhileNoneIsHeld) {
  EXPECT_EQ(DecideReport(State(Evaluation::TRIGGERED), "", false, kNow), Verdict::kAccepted);
  EXPECT_EQ(DecideReport(State(Evaluation::LEASED, "a"), "", false, kNow), Verdict::kAccepted);
  EXPECT_EQ(DecideReport(State(Evaluation::LEASED, "a", absl::Seconds(1)), "", false, kNow),
            Verdict::kLeaseLost);
  EXPECT_EQ(DecideReport(State(Evaluation::TRIGGERED), "a", false, kNow), Verdict::kLeaseLost);
  EXPECT_EQ(DecideReport(State(Evaluation::EXPIRED), "", false, kNow), Verdict::kEnded);
  EXPECT_EQ(DecideReport(State(Evaluation::COMPLETED, "b"), "a", true, kNow), Verdict::kUnchanged);
}

TEST(EvaluationStateTest, CancelsOnceAndNothingThatHasEnded) {
  EXPECT_EQ(DecideCancel(State(Evaluation::LEASED, "a", absl::Seconds(1)), kNow),
            Verdict::kAccepted);
  EXPECT_EQ(DecideCancel(State(Evaluation::CANCELLED), kNow), Verdict::kUnchanged);
  EXPECT_EQ(DecideCancel(State(Evaluation::COMPLETED), kNow), Verdict::kEnded);
  EXPECT_EQ(DecideCancel(State(Evaluation::TRIGGERED), kNow + absl::Hours(2)), Verdict::kEnded);
}

// ---------------------------------------------------------------- the model
constexpr absl::Duration kLease = absl::Seconds(60);
constexpr absl::Duration kDeadline = absl::Seconds(130);
constexpr int kEvaluators = 2;

// What the database holds; a crash of the daemon loses nothing of it.
struct Stored {
  EvaluationState evaluation{.state = Evaluation::TRIGGERED, .lease = {}, .deadline = {}};
  int leases = 0;
  // Of the terminal state.
  std::string result;
  // By state; TRIGGERED has happened.
  std::array<int, Evaluation::State_ARRAYSIZE> events{0, 1};
};

// What an evaluator knows; a crash of the evaluator, or a lost answer, loses the lease.
struct Evaluator {
  std::string lease;
  // Until when it assumes that it holds the lease.
  absl::Time until = absl::InfinitePast();
  // What it has sent without an answer.
  std::optional<std::string> unanswered;
};

struct World {
  Stored stored;
  Evaluator evaluators[kEvaluators];
  absl::Time now = kNow;
};

void Move(Evaluation::State state, Stored* stored) {
  EXPECT_FALSE(HasEnded(stored->evaluation.state)) << "a terminal state never changes";
  stored->evaluation.state = state;
  ++stored->events[state];
}

// One call, as the commands do it. `answered`: the answer reaches the evaluator.
void Lease(int number, bool answered, World* world) {
  Stored& stored = world->stored;
  EvaluationState& evaluation = stored.evaluation;
  if (!IsOnOffer(evaluation, world->now)) return;
  for (const Evaluator& other : world->evaluators)
    EXPECT_LE(other.until, world->now) << "a lease is given while another one is valid";
  evaluation.lease = absl::StrCat("lease ", ++stored.leases);
  evaluation.lease_end = std::min(world->now + kLease, evaluation.deadline);
  if (evaluation.state == Evaluation::TRIGGERED) Move(Evaluation::LEASED, &stored);
  world->evaluators[number] = {};
  if (answered)
    world->evaluators[number] = {.lease = evaluation.lease, .until = evaluation.lease_end};
}

void Renew(int number, World* world) {
  Evaluator& evaluator = world->evaluators[number];
  EvaluationState& evaluation = world->stored.evaluation;
  if (DecideRenew(evaluation, evaluator.lease, world->now) == Verdict::kAccepted) {
    evaluation.lease_end = std::min(world->now + kLease, evaluation.deadline);
    evaluator.until = evaluation.lease_end;
  } else {
    evaluator = {};
  }
}

Verdict Report(const std::string& lease, const std::string& result, World* world) {
  Stored& stored = world->stored;
  const bool held =
      stored.evaluation.state == Evaluation::LEASED && world->now < stored.evaluation.lease_end;
  const Verdict verdict =
      DecideReport(stored.evaluation, lease, stored.result == result, world->now);
  if (verdict != Verdict::kAccepted) return verdict;
  EXPECT_LT(world->now, stored.evaluation.deadline);
  EXPECT_TRUE(!held || lease == stored.evaluation.lease) << "another evaluator holds the lease";
  Move(result == "error" ? Evaluation::FAILED : Evaluation::COMPLETED, &stored);
  stored.result = result;
  return verdict;
}

void ReportOf(int number, const std::string& result, bool answered, World* world) {
  Evaluator& evaluator = world->evaluators[number];
  if (evaluator.lease.empty()) return;
  const std::string sent = evaluator.unanswered.value_or(result);
  const bool repeated = evaluator.unanswered.has_value();
  const bool was_stored = world->stored.result == sent;
  const Verdict verdict = Report(evaluator.lease, sent, world);
  EXPECT_TRUE(!repeated || !was_stored || verdict == Verdict::kUnchanged)
      << "a repeated report is refused";
  evaluator.unanswered = answered ? std::nullopt : std::optional(sent);
  if (answered) evaluator = {};
}

constexpr int kOperations = 20;

void Do(int operation, World* world) {
  Stored& stored = world->stored;
  const int number = operation % kEvaluators;
  switch (operation / kEvaluators) {
    case 0:
      return Lease(number, /*answered=*/true, world);
    case 1:
      return Lease(number, /*answered=*/false, world);
    case 2:
      return Renew(number, world);
    case 3:
      return ReportOf(number, "good", /*answered=*/true, world);
    case 4:
      return ReportOf(number, "good", /*answered=*/false, world);
    case 5:
      return ReportOf(number, "error", /*answered=*/false, world);
    case 6:
      // The evaluator is killed and started again.
      world->evaluators[number] = {};
      return;
    case 7:
      (void)Report("", number == 0 ? "good" : "other", world);
      return;
    case 8:
      if (number == 0) {
        if (DecideCancel(stored.evaluation, world->now) == Verdict::kAccepted)
          Move(Evaluation::CANCELLED, &stored);
      } else if (IsExpired(stored.evaluation, world->now)) {
        Move(Evaluation::EXPIRED, &stored);
      }
      return;
    default:
      world->now += number == 0 ? kLease / 2 : kLease;
  }
}

void Check(const World& world, const World& before) {
  const Stored& stored = world.stored;
  int terminal = 0;
  for (int state = Evaluation::TRIGGERED; state < Evaluation::State_ARRAYSIZE; ++state) {
    ASSERT_LE(stored.events[state], 1) << state;
    terminal += HasEnded(static_cast<Evaluation::State>(state)) ? stored.events[state] : 0;
  }
  ASSERT_EQ(terminal, HasEnded(stored.evaluation.state) ? 1 : 0);
  if (HasEnded(before.stored.evaluation.state)) {
    ASSERT_EQ(stored.evaluation.state, before.stored.evaluation.state);
    ASSERT_EQ(stored.result, before.stored.result);
  }
  int holders = 0;
  for (const Evaluator& evaluator : world.evaluators) holders += world.now < evaluator.until;
  ASSERT_LE(holders, 1) << "two evaluators hold a valid lease";
}

// Returns the number of interleavings.
int64_t Explore(const World& world, int depth, std::string* path) {
  if (depth == 0) {
    World end = world;
    end.now = end.stored.evaluation.deadline;
    if (IsExpired(end.stored.evaluation, end.now)) Move(Evaluation::EXPIRED, &end.stored);
    EXPECT_TRUE(HasEnded(end.stored.evaluation.state)) << *path;
    return 1;
  }
  int64_t count = 0;
  for (int operation = 0; operation < kOperations; ++operation) {
    World next = world;
    const size_t length = path->size();
    absl::StrAppend(path, operation, " ");
    Do(operation, &next);
    Check(next, world);
    if (::testing::Test::HasFailure()) {
      ADD_FAILURE() << "operations " << *path;
      return count;
    }
    count += Explore(next, depth - 1, path);
    if (::testing::Test::HasFailure()) return count;
    path->resize(length);
  }
  return count;
}

TEST(EvaluationModelTest, KeepsItsGuaranteesInEveryInterleaving) {
  World world;
  world.stored.evaluation.deadline = kNow + kDeadline;
  std::string path;
  constexpr int kDepth = 5;
  EXPECT_EQ(Explore(world, kDepth, &path), 3'200'000);
}

}  // namespace
}  // namespace trainerd::server
