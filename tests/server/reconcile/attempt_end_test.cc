// SPDX-License-Identifier: Apache-2.0
// The state of a job after each end of an attempt, per desired state.
#include "server/reconcile/attempt_end.h"

#include "gmock/gmock.h"
#include "proto/contract/job/job_state.h"
#include "tests/server/test_env.h"

namespace trainerd::server {
namespace {

using Job = v1::Job;
using Attempt = v1::Attempt;

Observation WorkerRecord(Attempt::End end, bool retryable = true,
                         v1::JobError::Cause cause = v1::JobError::INTERNAL) {
  Observation o{.kind = Observation::Kind::kExited};
  o.exit.emplace();
  o.worker_exit.emplace();
  o.worker_exit->set_end(end);
  if (end == Attempt::FAILED) {
    o.worker_exit->mutable_error()->set_code("E");
    o.worker_exit->mutable_error()->set_retryable(retryable);
    o.worker_exit->mutable_error()->set_cause(cause);
  }
  return o;
}

Observation Signalled(int signal, bool by_escalation = false) {
  Observation o{.kind = Observation::Kind::kExited};
  o.exit.emplace();
  o.exit->set_signal(signal);
  o.exit->set_killed_by_escalation(by_escalation);
  return o;
}

Observation Gone() { return {.kind = Observation::Kind::kGone}; }

EndInput Input(Job::State state, Job::DesiredState desired, const Observation& observation) {
  return {.state = state,
          .desired_state = desired,
          .verdict = JudgeAttempt(observation, 1, /*boot_changed=*/false),
          .applied_step = 10,
          .attempt = 1};
}

TEST(JudgeAttemptTest, PrefersTheWorkersOwnRecord) {
  Observation o = WorkerRecord(Attempt::PAUSED_OK);
  o.exit->set_signal(9);
  EXPECT_EQ(JudgeAttempt(o, 1, false).end, Attempt::PAUSED_OK);
  o.exit.reset();
  o.kind = Observation::Kind::kGone;
  EXPECT_EQ(JudgeAttempt(o, 1, false).end, Attempt::PAUSED_OK) << "also when the shim died";
}

TEST(JudgeAttemptTest, DistinguishesCrashFromKillByTheExitRecord) {
  const AttemptVerdict crash = JudgeAttempt(Signalled(11), 1, false);
  EXPECT_EQ(crash.end, Attempt::CRASHED);
  EXPECT_TRUE(crash.counts);
  EXPECT_EQ(crash.error->signal(), 11);
  EXPECT_EQ(crash.error->code(), "WORKER_CRASHED");
  EXPECT_EQ(JudgeAttempt(Signalled(9, /*by_escalation=*/true), 1, false).end, Attempt::KILLED);
  const AttemptVerdict killed = JudgeAttempt(Signalled(9), 1, false);
  EXPECT_EQ(killed.error->code(), "WORKER_CRASHED");
  EXPECT_THAT(killed.error->message(),
              ::testing::HasSubstr("check which other process on this machine"));
  Observation oom = Signalled(9);
  oom.exit->set_likely_out_of_memory(true);
  EXPECT_EQ(JudgeAttempt(oom, 1, false).error->cause(), v1::JobError::OUT_OF_MEMORY);
  EXPECT_EQ(JudgeAttempt(oom, 1, false).error->message().find("had used"), std::string::npos)
      << "not measured";
  oom.exit->set_memory_peak_bytes(1'288'490'189);
  EXPECT_NE(JudgeAttempt(oom, 1, false).error->message().find("; it had used 1.2 GiB at most; "),
            std::string::npos)
      << JudgeAttempt(oom, 1, false).error->message();
}

TEST(JudgeAttemptTest, TreatsMissingRecordsAsLost) {
  EXPECT_EQ(JudgeAttempt(Gone(), 1, false).end, Attempt::LOST);
  EXPECT_TRUE(JudgeAttempt(Gone(), 1, false).counts);
  EXPECT_FALSE(JudgeAttempt(Gone(), 1, /*boot_changed=*/true).counts);
  Observation never = Gone();
  never.never_started = true;
  EXPECT_FALSE(JudgeAttempt(never, 1, false).counts);
  Observation spawn{.kind = Observation::Kind::kExited};
  spawn.exit.emplace().set_spawn_error("no such file");
  EXPECT_FALSE(JudgeAttempt(spawn, 1, false).counts);
}

struct Row {
  const char* what;
  Job::State state;
  Job::DesiredState desired;
  Observation observation;
  bool checkpoint;
  Job::State to;
  Job::WaitReason wait;
};

TEST(DecideEndTest, FollowsTheTable) {
  const auto none = Job::WAIT_REASON_UNSPECIFIED;
  const Row rows[] = {
      {"completed", Job::RUNNING, Job::DESIRED_RUN, WorkerRecord(Attempt::COMPLETED), true,
       Job::SUCCEEDED, none},
      {"paused", Job::PAUSING, Job::DESIRED_PAUSE, WorkerRecord(Attempt::PAUSED_OK), true,
       Job::PAUSED, none},
      {"pause, no checkpoint", Job::PAUSING, Job::DESIRED_PAUSE, WorkerRecord(Attempt::PAUSED_OK),
       false, Job::QUEUED, Job::HELD},
      {"crash while pausing", Job::PAUSING, Job::DESIRED_PAUSE, Signalled(11), true, Job::PAUSED,
       none},
      {"killed while pausing, no checkpoint", Job::PAUSING, Job::DESIRED_PAUSE, Signalled(9, true),
       false, Job::QUEUED, Job::HELD},
      {"resume while pausing", Job::PAUSING, Job::DESIRED_RUN, WorkerRecord(Attempt::PAUSED_OK),
       true, Job::QUEUED, Job::RESOURCES},
      {"resume while pausing, no checkpoint", Job::PAUSING, Job::DESIRED_RUN, Signalled(9), false,
       Job::QUEUED, Job::RESOURCES},
      {"finished while pausing", Job::PAUSING, Job::DESIRED_PAUSE, WorkerRecord(Attempt::COMPLETED),
       true, Job::SUCCEEDED, none},
      {"cannot be cured while pausing", Job::PAUSING, Job::DESIRED_PAUSE,
       WorkerRecord(Attempt::FAILED, false), true, Job::FAILED, none},
      {"stopped", Job::STOPPING, Job::DESIRED_STOP, WorkerRecord(Attempt::STOPPED_OK), true,
       Job::STOPPED, none},
      {"stop, no checkpoint", Job::STOPPING, Job::DESIRED_STOP, Signalled(15), false,
       Job::CANCELLED, none},
      {"crash while stopping", Job::STOPPING, Job::DESIRED_STOP, Signalled(11), true, Job::STOPPED,
       none},
      {"lost while stopping", Job::STOPPING, Job::DESIRED_STOP, Gone(), true, Job::STOPPED, none},
      {"finished while stopping", Job::STOPPING, Job::DESIRED_STOP,
       WorkerRecord(Attempt::COMPLETED), true, Job::SUCCEEDED, none},
      {"discarded", Job::STOPPING, Job::DESIRED_DISCARD, WorkerRecord(Attempt::DISCARDED), true,
       Job::CANCELLED, none},
      {"forced", Job::STOPPING, Job::DESIRED_FORCE, Signalled(9, true), true, Job::CANCELLED, none},
      {"finished while discarding", Job::STOPPING, Job::DESIRED_DISCARD,
       WorkerRecord(Attempt::COMPLETED), true, Job::CANCELLED, none},
      {"crash", Job::RUNNING, Job::DESIRED_RUN, Signalled(11), true, Job::QUEUED, Job::BACKOFF},
      {"lost", Job::RUNNING, Job::DESIRED_RUN, Gone(), false, Job::QUEUED, Job::BACKOFF},
      {"preempted", Job::RUNNING, Job::DESIRED_RUN, WorkerRecord(Attempt::PREEMPTED_OK), true,
       Job::QUEUED, Job::PREEMPTED},
      {"ended from outside", Job::RUNNING, Job::DESIRED_RUN, WorkerRecord(Attempt::PAUSED_OK), true,
       Job::QUEUED, Job::RESOURCES},
      {"user's error", Job::STARTING, Job::DESIRED_RUN, WorkerRecord(Attempt::FAILED, false), false,
       Job::FAILED, none},
      {"error that may pass", Job::RUNNING, Job::DESIRED_RUN, WorkerRecord(Attempt::FAILED, true),
       false, Job::QUEUED, Job::BACKOFF},
  };
  for (const Row& row : rows) {
    EndInput input = Input(row.state, row.desired, row.observation);
    input.has_verified_checkpoint = row.checkpoint;
    const EndOutcome out = DecideEnd(input);
    EXPECT_EQ(out.state, row.to) << row.what << ": " << StateName(out.state);
    EXPECT_EQ(out.wait_reason, row.wait) << row.what;
    EXPECT_FALSE(out.reason.empty()) << row.what;
    // Every transition is one of the state table.
    Job::State from = row.state;
    for (Job::State through :
         {out.through_running ? Job::RUNNING : from, out.through_paused ? Job::PAUSED : from}) {
      if (through == from) continue;
      EXPECT_TRUE(IsTransitionAllowed(from, through)) << row.what;
      from = through;
    }
    EXPECT_TRUE(IsTransitionAllowed(from, out.state)) << row.what;
    if (out.state == Job::FAILED) {
      EXPECT_TRUE(out.error.has_value()) << row.what;
    }
  }
}

TEST(DecideEndTest, PassesThroughPausedAfterAResumeWhilePausing) {
  EndInput input = Input(Job::PAUSING, Job::DESIRED_RUN, WorkerRecord(Attempt::PAUSED_OK));
  input.has_verified_checkpoint = true;
  EXPECT_TRUE(DecideEnd(input).through_paused);
}

TEST(DecideEndTest, FailsAfterThreeCrashesWithoutProgress) {
  EndInput input = Input(Job::RUNNING, Job::DESIRED_RUN, Signalled(11));
  for (int i = 1; i <= 2; ++i) {
    const EndOutcome out = DecideEnd(input);
    ASSERT_EQ(out.state, Job::QUEUED) << i;
    EXPECT_EQ(*out.retries, i);
    input.failures_without_progress = *out.failures_without_progress;
    input.retries = *out.retries;
  }
  const EndOutcome last = DecideEnd(input);
  EXPECT_EQ(last.state, Job::FAILED);
  EXPECT_EQ(last.error->code(), "WORKER_CRASHED");
}

TEST(DecideEndTest, RestoresTheBudgetAfterANewerVerifiedCheckpoint) {
  EndInput input = Input(Job::RUNNING, Job::DESIRED_RUN, Signalled(11));
  input.failures_without_progress = 2;
  input.retries = 7;
  input.advanced = true;
  const EndOutcome out = DecideEnd(input);
  EXPECT_EQ(out.state, Job::QUEUED);
  EXPECT_EQ(*out.failures_without_progress, 0);
  EXPECT_EQ(*out.retries, 1);
}

TEST(DecideEndTest, NeverRetriesWithABudgetOfZero) {
  EndInput input = Input(Job::RUNNING, Job::DESIRED_RUN, Signalled(11));
  input.max_failures = 0;
  input.advanced = true;
  EXPECT_EQ(DecideEnd(input).state, Job::FAILED);
}

// T8
TEST(DecideEndTest, KeepsTheBudgetAfterPreemptionAndExecutorErrors) {
  Observation never = Gone();
  never.never_started = true;
  for (const Observation& o : {WorkerRecord(Attempt::PREEMPTED_OK), never}) {
    EndInput input = Input(Job::RUNNING, Job::DESIRED_RUN, o);
    input.failures_without_progress = 2;
    const EndOutcome out = DecideEnd(input);
    EXPECT_EQ(out.state, Job::QUEUED);
    EXPECT_EQ(*out.failures_without_progress, 2);
  }
}

// T11
TEST(DecideEndTest, RequiresAVerifiedFinalModelAndAStepForSucceeded) {
  EndInput input = Input(Job::RUNNING, Job::DESIRED_RUN, WorkerRecord(Attempt::COMPLETED));
  input.final_status = absl::DataLossError("model.safetensors differs");
  const EndOutcome again = DecideEnd(input);
  EXPECT_EQ(again.state, Job::QUEUED);
  EXPECT_EQ(again.error->code(), "FINAL_NOT_VERIFIED");
  input.final_status = absl::OkStatus();
  input.applied_step = 0;
  const EndOutcome empty = DecideEnd(input);
  EXPECT_EQ(empty.state, Job::FAILED);
  EXPECT_EQ(empty.error->code(), "NO_STEPS");
}

TEST(DecideEndTest, FailsAtTheRunTimeLimitUnlessTheJobHadFinished) {
  EndInput input = Input(Job::STOPPING, Job::DESIRED_STOP, WorkerRecord(Attempt::STOPPED_OK));
  input.limit_reached = true;
  input.has_verified_checkpoint = true;
  const EndOutcome out = DecideEnd(input);
  EXPECT_EQ(out.state, Job::FAILED);
  EXPECT_EQ(out.error->cause(), v1::JobError::LIMIT);
  input.verdict = JudgeAttempt(WorkerRecord(Attempt::COMPLETED), 1, false);
  EXPECT_EQ(DecideEnd(input).state, Job::SUCCEEDED);
}

EndInput Requeued(internal::RequeueReason reason, const Observation& observation) {
  EndInput input = Input(Job::PAUSING, Job::DESIRED_RUN, observation);
  input.requeue = reason;
  return input;
}

TEST(DecideEndTest, PreemptedJobIsQueuedAgainWhateverItsAttemptDid) {
  for (const Observation& observation :
       {WorkerRecord(Attempt::PAUSED_OK), WorkerRecord(Attempt::FAILED), Signalled(11),
        Signalled(9, /*by_escalation=*/true), Gone()}) {
    for (const bool saved : {false, true}) {
      EndInput input = Requeued(internal::REQUEUE_PREEMPTED, observation);
      input.has_verified_checkpoint = saved;
      input.failures_without_progress = 2;
      const EndOutcome out = DecideEnd(input);
      EXPECT_EQ(out.state, Job::QUEUED);
      EXPECT_EQ(out.desired_state, Job::DESIRED_RUN);
      EXPECT_EQ(out.wait_reason, Job::PREEMPTED);
      EXPECT_EQ(out.failures_without_progress, 2) << "T8: not a failure";
      EXPECT_FALSE(out.through_paused || out.slice_over);
    }
  }
}

TEST(DecideEndTest, PreemptionGivesWayToWhatTheUserRequested) {
  EndInput input = Requeued(internal::REQUEUE_PREEMPTED, WorkerRecord(Attempt::PAUSED_OK));
  input.has_verified_checkpoint = true;
  input.desired_state = Job::DESIRED_PAUSE;
  EXPECT_EQ(DecideEnd(input).state, Job::PAUSED);
  input.state = Job::STOPPING;
  input.desired_state = Job::DESIRED_STOP;
  EXPECT_EQ(DecideEnd(input).state, Job::STOPPED);
  input = Requeued(internal::REQUEUE_PREEMPTED, WorkerRecord(Attempt::COMPLETED));
  EXPECT_EQ(DecideEnd(input).state, Job::SUCCEEDED) << "it was done before it was ended";
  input = Requeued(internal::REQUEUE_PREEMPTED, WorkerRecord(Attempt::FAILED, false));
  EXPECT_EQ(DecideEnd(input).state, Job::FAILED) << "another attempt cannot succeed";
}

TEST(DecideEndTest, TimeSliceSendsTheJobBehindItsEquals) {
  EndInput input = Requeued(internal::REQUEUE_ATTEMPT_TIME, WorkerRecord(Attempt::PAUSED_OK));
  input.has_verified_checkpoint = input.advanced = true;
  input.failures_without_progress = 2;
  const EndOutcome out = DecideEnd(input);
  EXPECT_EQ(out.state, Job::QUEUED);
  EXPECT_EQ(out.wait_reason, Job::PREEMPTED);
  EXPECT_TRUE(out.slice_over);
  EXPECT_EQ(out.failures_without_progress, 0);
  EXPECT_FALSE(out.error.has_value());
}

// A worker that found too little space for the first checkpoint.
Observation LacksSpace() {
  Observation o = WorkerRecord(Attempt::FAILED, /*retryable=*/true, v1::JobError::STORAGE);
  o.worker_exit->mutable_error()->set_message("it needs 2 B, 1 B are free");
  o.worker_exit->set_needed_bytes(2);
  return o;
}

TEST(DecideEndTest, TooLittleSpaceWaitsAndIsNoFailure) {
  for (const Job::State state : {Job::STARTING, Job::RUNNING}) {
    EndInput input = Input(state, Job::DESIRED_RUN, LacksSpace());
    input.failures_without_progress = 2;
    input.retries = 1;
    const EndOutcome out = DecideEnd(input);
    EXPECT_EQ(out.state, Job::QUEUED);
    EXPECT_EQ(out.wait_reason, Job::DISK);
    EXPECT_EQ(out.failures_without_progress, 2) << "T8";
    EXPECT_EQ(out.retries, 1);
    EXPECT_EQ(out.error->cause(), v1::JobError::STORAGE);
    EXPECT_EQ(out.reason, "it needs 2 B, 1 B are free, and the job starts by itself");
  }
}

TEST(DecideEndTest, ACommandTakesPrecedenceOverTheWaitForSpace) {
  EndInput input = Input(Job::PAUSING, Job::DESIRED_PAUSE, LacksSpace());
  EXPECT_EQ(DecideEnd(input).wait_reason, Job::HELD);
  input = Input(Job::STOPPING, Job::DESIRED_STOP, LacksSpace());
  EXPECT_EQ(DecideEnd(input).state, Job::CANCELLED);
  input = Requeued(internal::REQUEUE_ATTEMPT_TIME, LacksSpace());
  input.failures_without_progress = 2;
  EXPECT_EQ(DecideEnd(input).state, Job::QUEUED);
  EXPECT_EQ(DecideEnd(input).failures_without_progress, 2) << "T8";
}

TEST(DecideEndTest, TimeSliceWithoutANewerCheckpointIsAFailure) {
  EndInput input = Requeued(internal::REQUEUE_ATTEMPT_TIME, WorkerRecord(Attempt::PAUSED_OK));
  input.has_verified_checkpoint = true;
  input.failures_without_progress = 1;
  const EndOutcome again = DecideEnd(input);
  EXPECT_EQ(again.state, Job::QUEUED);
  EXPECT_EQ(again.failures_without_progress, 2);
  EXPECT_EQ(again.error->code(), "ATTEMPT_TIME_LIMIT");
  input.failures_without_progress = 2;
  const EndOutcome last = DecideEnd(input);
  EXPECT_EQ(last.state, Job::FAILED);
  EXPECT_EQ(last.error->cause(), v1::JobError::LIMIT);
  EXPECT_EQ(last.failures_without_progress, 3);
  input.verdict = JudgeAttempt(Gone(), 1, /*boot_changed=*/true);
  EXPECT_EQ(DecideEnd(input).state, Job::QUEUED);
  EXPECT_EQ(DecideEnd(input).failures_without_progress, 2) << "T8: nobody's failure";
}

TEST(DecideEndTest, ProgressRefillsTheBudgetHoweverTheAttemptEnded) {
  for (const bool advanced : {false, true}) {
    EndInput input = Input(Job::RUNNING, Job::DESIRED_RUN, Gone());
    input.verdict = JudgeAttempt(Gone(), 1, /*boot_changed=*/true);
    input.has_verified_checkpoint = true;
    input.advanced = advanced;
    input.failures_without_progress = 2;
    input.retries = 4;
    const EndOutcome out = DecideEnd(input);
    EXPECT_EQ(out.wait_reason, Job::BACKOFF);
    EXPECT_EQ(out.failures_without_progress, advanced ? 0 : 2);
    EXPECT_EQ(out.retries, advanced ? 1 : 5);
  }
}

}  // namespace
}  // namespace trainerd::server
