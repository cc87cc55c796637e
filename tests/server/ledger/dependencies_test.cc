// SPDX-License-Identifier: Apache-2.0
// depends_on: each condition in each state of the other job, and every order of what can happen to
// the two jobs, with the waker called before or after each step.
#include "server/ledger/dependencies.h"

#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "proto/base/status_macros.h"
#include "proto/contract/job/job_state.h"
#include "server/store/rows/dependency_rows.h"
#include "tests/server/test_env.h"

namespace trainerd::server {
namespace {

using Job = v1::Job;
using Outcome = DependencyOutcome;
using Condition = v1::DependencyConfig::Condition;

const std::vector<Condition> kConditions = {v1::DependencyConfig::CONDITION_SUCCEEDED,
                                            v1::DependencyConfig::CONDITION_ENDED,
                                            v1::DependencyConfig::CONDITION_CHECKPOINT};

TEST(JudgeDependencyTest, EachConditionInEachState) {
  for (const bool checkpoint : {false, true}) {
    for (int number = Job::QUEUED; number <= Job::State_MAX; ++number) {
      if (!Job::State_IsValid(number)) continue;
      Job on;
      on.set_state(static_cast<Job::State>(number));
      if (checkpoint) on.set_latest_checkpoint("jobs/a/checkpoints/c");
      const bool ended = on.state() >= Job::SUCCEEDED;
      const std::map<Condition, bool> holds = {
          {v1::DependencyConfig::CONDITION_SUCCEEDED, on.state() == Job::SUCCEEDED},
          {v1::DependencyConfig::CONDITION_ENDED, ended},
          {v1::DependencyConfig::CONDITION_CHECKPOINT, checkpoint}};
      for (const Condition condition : kConditions) {
        Outcome expected = ended ? Outcome::kImpossible : Outcome::kPending;
        if (holds.at(condition)) expected = Outcome::kHolds;
        EXPECT_EQ(JudgeDependency(condition, on), expected)
            << StateName(on.state()) << " " << condition << " " << checkpoint;
      }
    }
  }
}

TEST(StartsFromDependencyTest, OnlyAJobOfTheListIsOne) {
  const auto starts = [](const std::string& from, const std::string& on) {
    v1::JobConfig config;
    if (!from.empty()) config.mutable_init_from()->set_checkpoint(from);
    if (!on.empty()) config.add_depends_on()->set_job(on);
    return StartsFromDependency(config);
  };
  EXPECT_TRUE(starts("jobs/a", "jobs/a"));
  EXPECT_FALSE(starts("jobs/a/checkpoints/c", "jobs/a"));
  EXPECT_FALSE(starts("/folder", "jobs/a"));
  EXPECT_FALSE(starts("jobs/b", "jobs/a"));
  EXPECT_FALSE(starts("", "jobs/a"));
  EXPECT_FALSE(starts("jobs/a", ""));
}

// One store for all cases of one condition: the jobs have names of their own.
class DependencyModelTest : public ::testing::TestWithParam<Condition> {
 protected:
  void SetUp() override {
    auto store = Store::Open({.path = dir_ / "trainerd.db",
                              .listener = [](const std::vector<EventRecord>&) {},
                              .clock = clock_.Function(),
                              .steady_clock = clock_.Function()});
    ASSERT_OK(store.status());
    store_ = *std::move(store);
  }
  // Any order of the submit of the waiting job, a checkpoint and the end of the other one, a pause
  // and a resume of the waiting one.
  enum Step { kSubmit, kCheckpoint, kSucceed, kCancel, kHold, kRelease, kStop, kSteps };

  absl::Status Change(Transaction& t, const std::string& id, Transition transition) {
    ASSIGN_OR_RETURN(JobRecord record, LoadJob(t.db(), id));
    if (!IsTransitionAllowed(record.job.state(), transition.to)) return absl::OkStatus();
    return ApplyTransition(t, std::move(transition), &record);
  }
  absl::Status Submit(Transaction& t, const std::string& id, const std::string& on) {
    JobRecord record;
    record.job.set_name(JobName(id));
    *record.job.mutable_config() = MakeConfig();
    if (!on.empty()) {
      v1::DependencyConfig& dependency = *record.job.mutable_config()->add_depends_on();
      dependency.set_job(JobName(on));
      dependency.set_condition(GetParam());
    }
    RETURN_IF_ERROR(AddDependencies(t, &record));
    return ApplyTransition(
        t, {.to = Job::QUEUED, .desired_state = Job::DESIRED_RUN, .wait_reason = Job::RESOURCES},
        &record);
  }
  absl::Status Do(Transaction& t, Step step, const std::string& on, const std::string& waits) {
    const absl::StatusOr<JobRecord> waiting = LoadJob(t.db(), waits);
    if (step == kSubmit) return waiting.ok() ? absl::OkStatus() : Submit(t, waits, on);
    if (step == kCheckpoint) {
      ASSIGN_OR_RETURN(JobRecord record, LoadJob(t.db(), on));
      if (!IsActive(record.job.state())) return absl::OkStatus();
      record.job.set_latest_checkpoint("jobs/x/checkpoints/c");
      return StoreJob(t.db(), &record);
    }
    if (step == kSucceed || step == kCancel) {
      const Job::State end = step == kSucceed ? Job::SUCCEEDED : Job::FAILED;
      return Change(t, on, {.to = end, .desired_state = Job::DESIRED_RUN});
    }
    if (!waiting.ok() || waiting->job.state() != Job::QUEUED) return absl::OkStatus();
    if (step == kStop)
      return Change(t, waits, {.to = Job::CANCELLED, .desired_state = Job::DESIRED_DISCARD});
    const bool held = waiting->job.wait_reason() == Job::HELD;
    if (held == (step == kHold)) return absl::OkStatus();
    return Change(t, waits,
                  {.to = Job::QUEUED,
                   .desired_state = step == kHold ? Job::DESIRED_PAUSE : Job::DESIRED_RUN,
                   .wait_reason = step == kHold ? Job::HELD : Job::RESOURCES});
  }
  absl::Status WakeAll(Transaction& t) {
    while (true) {
      ASSIGN_OR_RETURN(const bool more, WakeDependents(t));
      if (!more) return absl::OkStatus();
    }
  }
  // What must be true once all news was carried.
  absl::Status Check(Transaction& t, const std::string& on, const std::string& waits,
                     const std::string& what) {
    ASSIGN_OR_RETURN(const JobRecord other, LoadJob(t.db(), on));
    ASSIGN_OR_RETURN(const JobRecord record, LoadJob(t.db(), waits));
    ASSIGN_OR_RETURN(const std::vector<std::string> rows, ListDependents(t.db(), on, false, 9));
    const Job& job = record.job;
    const bool pending = record.ledger.pending_dependencies_size() > 0;
    EXPECT_EQ(!rows.empty(), pending) << what;
    EXPECT_EQ(job.wait_reason() == Job::DEPENDENCY && !pending, false) << what;
    EXPECT_EQ(pending && IsTerminal(job.state()), false) << what;
    if (job.state() == Job::FAILED) {
      EXPECT_EQ(job.error().cause(), v1::JobError::DEPENDENCY) << what;
      EXPECT_EQ(JudgeDependency(GetParam(), other.job), Outcome::kImpossible) << what;
    } else if (job.state() == Job::QUEUED) {
      // Nobody waits for what holds, or for what never will.
      EXPECT_EQ(pending, JudgeDependency(GetParam(), other.job) == Outcome::kPending) << what;
      const Job::WaitReason expected = pending ? Job::DEPENDENCY : Job::RESOURCES;
      EXPECT_TRUE(job.wait_reason() == Job::HELD || job.wait_reason() == expected) << what;
    }
    return absl::OkStatus();
  }

  // One order of steps. `late`: the daemon dies after each step, and a later one carries the news.
  absl::Status RunOrder(Transaction& t, int code, int length, bool late, int number) {
    const std::string on = absl::StrCat("a", number), waits = absl::StrCat("b", number);
    RETURN_IF_ERROR(Submit(t, on, ""));
    RETURN_IF_ERROR(Change(t, on, {.to = Job::STARTING, .desired_state = Job::DESIRED_RUN}));
    RETURN_IF_ERROR(Change(t, on, {.to = Job::RUNNING, .desired_state = Job::DESIRED_RUN}));
    std::string what;
    for (int i = 0; i < length; ++i, code /= kSteps) {
      absl::StrAppend(&what, code % kSteps);
      RETURN_IF_ERROR(Do(t, static_cast<Step>(code % kSteps), on, waits));
      if (!late) RETURN_IF_ERROR(WakeAll(t));
    }
    RETURN_IF_ERROR(Do(t, kSubmit, on, waits));
    RETURN_IF_ERROR(WakeAll(t));
    return Check(t, on, waits, what);
  }

  TempDir dir_;
  FakeClock clock_;
  std::unique_ptr<Store> store_;
};

TEST_P(DependencyModelTest, EveryOrderOfStepsEndsWhereTheStatesSay) {
  constexpr int kLength = 4, kOrders = kSteps * kSteps * kSteps * kSteps;
  // So many fit into one transaction.
  constexpr int kAtOnce = 16;
  int number = 0;
  for (const bool late : {false, true}) {
    for (int first = 0; first < kOrders; first += kAtOnce) {
      ASSERT_OK(store_->Change([&](Transaction& t) -> absl::Status {
        for (int code = first; code < std::min(first + kAtOnce, kOrders); ++code)
          RETURN_IF_ERROR(RunOrder(t, code, kLength, late, ++number));
        return absl::OkStatus();
      }));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Conditions, DependencyModelTest, ::testing::ValuesIn(kConditions));

}  // namespace
}  // namespace trainerd::server
