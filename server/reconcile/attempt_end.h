// SPDX-License-Identifier: Apache-2.0
// How an attempt ended, from its exit records, and the state to which its job moves. Pure: the
// reconciler stores the result.
#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "server/runs/executor.h"
#include "trainerd/internal/store.pb.h"
#include "trainerd/v1/job.pb.h"

namespace trainerd::server {

struct AttemptVerdict {
  v1::Attempt::End end = v1::Attempt::END_UNSPECIFIED;
  std::optional<v1::JobError> error;
  // Uses the failure budget. Preemption, a reboot, too little space and an attempt that never
  // started do not.
  bool counts = false;
  // The worker found too little space for the job's first checkpoint.
  bool lacks_space = false;
};

// Reads the exit records of an attempt that has ended (kExited or kGone). The worker's own record
// takes precedence.
AttemptVerdict JudgeAttempt(const Observation& observation, int attempt, bool boot_changed);

struct EndInput {
  v1::Job::State state;
  v1::Job::DesiredState desired_state;
  AttemptVerdict verdict;
  bool has_verified_checkpoint = false;
  // The attempt produced a newer verified checkpoint.
  bool advanced = false;
  int failures_without_progress = 0;
  int retries = 0;
  int max_failures = 3;
  bool limit_reached = false;
  // Why the daemon ended the attempt, if it returns the job to the queue.
  internal::RequeueReason requeue = internal::REQUEUE_REASON_UNSPECIFIED;
  // Last step of the job's lineage; 0: nothing was trained.
  int64_t applied_step = 0;
  // After COMPLETED: the result of reading final/ and output.path back.
  absl::Status final_status;
  int attempt = 0;
};

struct EndOutcome {
  v1::Job::State state;
  v1::Job::DesiredState desired_state;
  v1::Job::WaitReason wait_reason = v1::Job::WAIT_REASON_UNSPECIFIED;
  std::optional<v1::JobError> error;
  std::string reason;
  // Failure budget and back-off after this end.
  std::optional<int> failures_without_progress;
  std::optional<int> retries;
  // limits.max_attempt_time ended the attempt: a queued job is behind those of equal priority.
  bool slice_over = false;
  // Intermediate states, each with its event.
  bool through_running = false;
  bool through_paused = false;
};

EndOutcome DecideEnd(const EndInput& input);

}  // namespace trainerd::server
