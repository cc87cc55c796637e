// SPDX-License-Identifier: Apache-2.0
// What an attempt's end means: how it ended (from the records), and what becomes of the job. Pure:
// the reconciler stores the answer.
#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "server/runs/executor.h"
#include "trainerd/v1/job.pb.h"

namespace trainerd::server {

struct AttemptVerdict {
  v1::Attempt::End end = v1::Attempt::END_UNSPECIFIED;
  std::optional<v1::JobError> error;
  // Consumes the failure budget: not for preemption, a reboot, or an attempt that was never
  // started.
  bool counts = false;
};

// Reads the evidence of an attempt that has ended (kExited, or kGone). The worker's own record
// decides if it is there.
AttemptVerdict JudgeAttempt(const Observation& observation, int attempt, bool boot_changed);

struct EndInput {
  v1::Job::State state;
  v1::Job::DesiredState desired_state;
  AttemptVerdict verdict;
  bool has_verified_checkpoint = false;
  // The attempt moved the newest verified checkpoint.
  bool advanced = false;
  int failures_without_progress = 0;
  int retries = 0;
  int max_failures = 3;
  bool limit_reached = false;
  // Steps that the job's line holds now; 0 = nothing was trained.
  int64_t applied_step = 0;
  // COMPLETED: what reading final/ and output.path back said.
  absl::Status final_status;
  int attempt = 0;
};

struct EndOutcome {
  v1::Job::State state;
  v1::Job::DesiredState desired_state;
  v1::Job::WaitReason wait_reason = v1::Job::WAIT_REASON_UNSPECIFIED;
  std::optional<v1::JobError> error;
  std::string reason;
  // Book-keeping of the budget and the back-off after this end.
  std::optional<int> failures_without_progress;
  std::optional<int> retries;
  // States that are passed through on the way, each with its event.
  bool through_running = false;
  bool through_paused = false;
};

EndOutcome DecideEnd(const EndInput& input);

}  // namespace trainerd::server
