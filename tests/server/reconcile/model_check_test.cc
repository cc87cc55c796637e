// SPDX-License-Identifier: Apache-2.0
// Every interleaving of commands, crashes of the daemon, answers of the executor, errors of worker
// and machine, dependencies, preemption and leases of evaluations, up to a bound, against the pure
// decision functions.
// T1 to T11 (server/README.md) are asserted after each step.
#include <chrono>
#include <unordered_map>

#include "gtest/gtest.h"
#include "tests/server/reconcile/model_steps.h"

namespace trainerd::server::model {
namespace {

struct Hash {
  size_t operator()(const World& world) const { return std::hash<std::string_view>()(world.key()); }
};

// Explores all worlds that can be reached, each once.
class Explorer {
 public:
  explicit Explorer(const Bounds& bounds) : bounds_(bounds) {}

  // Number of ways in which the world can end, from here.
  double Explore(const World& world) {
    const auto known = ways_.find(world);
    if (known != ways_.end()) return known->second;
    Steps steps(bounds_, world);
    double ways = 0;
    for (const Next& next : steps.All()) {
      ++transitions_;
      trace_.push_back(next.what);
      const std::string violation =
          steps.violation().empty() ? Violation(world, next.world) : steps.violation();
      if (!violation.empty()) Report(violation, next.world);
      if (failed_) return 0;
      ways += Explore(next.world);
      trace_.pop_back();
    }
    if (ways == 0) {
      ways = 1;
      Settle(world);
    }
    ways_.emplace(world, ways);
    return ways;
  }

  int64_t transitions() const { return transitions_; }
  size_t worlds() const { return ways_.size(); }

 private:
  // Nothing more can happen: every request that was acknowledged is carried out.
  void Settle(const World& w) {
    const Job::State state = StateOf(w);
    const bool bounded = w.attempt >= bounds_.attempts;
    const bool rests = IsTerminal(state) || state == Job::PAUSED || w.wait == Job::HELD ||
                       w.wait == Job::DEPENDENCY || (state == Job::QUEUED && bounded);
    if (!rests) Report("it is stuck", w);
    if (w.evaluation != 0 && !HasEnded(static_cast<Evaluation::State>(w.evaluation)))
      Report("its evaluation is stuck", w);
    if ((w.conditions & kOfAttempt) != 0) Report("T10: a condition outlives its cause", w);
  }

  void Report(const std::string& violation, const World& world) {
    if (failed_) return;
    failed_ = true;
    std::string text;
    for (const char* what : trace_) text.append("\n  ").append(what);
    ADD_FAILURE() << violation << ": " << Describe(world) << text;
  }

  const Bounds bounds_;
  std::unordered_map<World, double, Hash> ways_;
  std::vector<const char*> trace_;
  int64_t transitions_ = 0;
  bool failed_ = false;
};

struct Total {
  double interleavings = 0;
  int64_t transitions = 0;
  size_t worlds = 0;
};

Total Check(const std::vector<Bounds>& all_bounds) {
  Total total;
  for (const Bounds& bounds : all_bounds) {
    Explorer explorer(bounds);
    total.interleavings += explorer.Explore(FirstWorld(bounds));
    total.transitions += explorer.transitions();
    total.worlds += explorer.worlds();
  }
  std::printf("%.0f interleavings, %lld steps, %zu worlds\n", total.interleavings,
              static_cast<long long>(total.transitions), total.worlds);
  return total;
}

TEST(ModelCheckTest, CommandsCrashesAndErrors) {
  const Total total = Check({{.commands = 3, .crashes = 1, .errors = 1, .attempts = 2},
                             {.commands = 1, .crashes = 2, .errors = 2},
                             {.crashes = 1, .errors = 3}});
  EXPECT_GE(total.interleavings, 1e6);
}

TEST(ModelCheckTest, Dependencies) {
  using Dependency = v1::DependencyConfig;
  std::vector<Bounds> all_bounds;
  for (const auto condition : {Dependency::CONDITION_SUCCEEDED, Dependency::CONDITION_ENDED,
                               Dependency::CONDITION_CHECKPOINT})
    all_bounds.push_back(
        {.depends = condition, .commands = 1, .crashes = 1, .errors = 1, .attempts = 2});
  EXPECT_GE(Check(all_bounds).interleavings, 1e6);
}

TEST(ModelCheckTest, PreemptionAndLimits) {
  const Total total =
      Check({{.preemption = true, .commands = 1, .crashes = 1, .errors = 1, .attempts = 2},
             {.slice_limit = true, .commands = 1, .crashes = 1, .errors = 1, .attempts = 2},
             {.run_limit = true, .commands = 2, .crashes = 1, .errors = 1, .attempts = 2},
             {.preemption = true, .slice_limit = true, .errors = 1}});
  EXPECT_GE(total.interleavings, 1e6);
}

// What evaluators do while the job trains, and while it waits for the result.
TEST(ModelCheckTest, Evaluations) {
  const Total total = Check(
      {{.evaluate_final = true,
        .leases = 3,
        .commands = 1,
        .crashes = 1,
        .errors = 1,
        .attempts = 2},
       {.preemption = true, .evaluate_final = true, .leases = 2, .commands = 1, .attempts = 2},
       {.evaluate_checkpoints = true, .leases = 2, .commands = 1, .attempts = 2}});
  EXPECT_GE(total.interleavings, 1e6);
}

TEST(ModelCheckTest, SpaceAndStalls) {
  const Total total =
      Check({{.stall = true, .commands = 1, .errors = 1, .attempts = 2},
             {.slice_limit = true, .space = true, .crashes = 1, .errors = 1, .attempts = 2}});
  EXPECT_GE(total.interleavings, 1e6);
}

// The check itself finds what it looks for.
TEST(ModelCheckTest, FindsAViolation) {
  World before = FirstWorld({});
  before.stored = 1;
  before.state = Job::SUCCEEDED;
  before.final_model = 1;
  World after = before;
  EXPECT_EQ(Violation(before, after), "");
  after.final_model = 2;
  EXPECT_NE(Violation(before, after).find("T11"), std::string::npos);
  after.state = Job::QUEUED;
  EXPECT_NE(Violation(before, after).find("T1:"), std::string::npos);
  before.state = after.state = Job::PAUSED;
  EXPECT_NE(Violation(before, after).find("T5"), std::string::npos) << "without a checkpoint";
  before.state = after.state = Job::STOPPED;
  EXPECT_NE(Violation(before, after).find("T6"), std::string::npos);
  before.state = after.state = Job::RUNNING;
  before.open = after.open = 1;
  after.failures = 1;
  EXPECT_NE(Violation(before, after).find("T8"), std::string::npos);
  after.failures = 0;
  after.acknowledged = 1;
  after.stored = 0;
  EXPECT_NE(Violation(before, after).find("T9"), std::string::npos);
  before.state = Job::STOPPING;
  before.desired = Job::DESIRED_DISCARD;
  after = before;
  after.desired = Job::DESIRED_STOP;
  EXPECT_NE(Violation(before, after).find("T2"), std::string::npos);
  after = before;
  after.open = 0;
  after.process = kRunning;
  EXPECT_NE(Violation(before, after).find("T4"), std::string::npos);
}

TEST(ModelCheckTest, FindsAViolationOfT10) {
  World before = FirstWorld({});
  before.stored = before.open = before.attempt = 1;
  before.state = Job::RUNNING;
  before.desired = Job::DESIRED_RUN;
  World after = before;
  after.conditions = kControlLost;
  EXPECT_EQ(Violation(before, after), "") << "a condition accompanies the state";
  after.state = Job::PAUSING;
  EXPECT_NE(Violation(before, after).find("T10: a condition changes"), std::string::npos);
  before.conditions = kControlLost;
  after = before;
  after.open = 0;
  after.state = Job::QUEUED;
  after.wait = Job::RESOURCES;
  EXPECT_NE(Violation(before, after).find("T10: a condition of an attempt"), std::string::npos);
  after.conditions = 0;
  after.wait = Job::DISK;
  EXPECT_NE(Violation(before, after).find("T10: no condition shows"), std::string::npos);
  after = before = FirstWorld({});
  before.stored = before.open = before.attempt = before.final_model = 1;
  before.state = Job::RUNNING;
  before.evaluation = Evaluation::LEASED;
  after = before;
  after.open = 0;
  after.awaiting = 1;
  EXPECT_NE(Violation(before, after).find("T10: AwaitingEvaluation"), std::string::npos);
  after.conditions = kAwaitsEvaluation;
  EXPECT_EQ(Violation(before, after), "");
  after.evaluation = Evaluation::TRIGGERED;
  EXPECT_EQ(Violation(before, after), "an evaluation goes back");
  after.evaluation = Evaluation::COMPLETED;
  EXPECT_EQ(Violation(before, after), "the job awaits an evaluation that has ended");
}

}  // namespace
}  // namespace trainerd::server::model
