// SPDX-License-Identifier: Apache-2.0
// The job's state table and the command table of job.proto as exhaustive switches. Pure functions.
#pragma once

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "trainerd/v1/job.pb.h"

namespace trainerd {

bool IsTerminal(v1::Job::State state);
// An attempt exists, is starting or is ending.
bool IsActive(v1::Job::State state);
// The allowed transitions. from = to is allowed for changes of desired_state or wait_reason, but no
// transition leaves a terminal state.
bool IsTransitionAllowed(v1::Job::State from, v1::Job::State to);

// Time between a forced stop and SIGKILL.
inline constexpr absl::Duration kForceGrace = absl::Seconds(2);

enum class JobCommand { kPause, kResume, kStopGraceful, kStopDiscard, kStopForce };

// The effect of a command on a job; the caller stores it. Unchanged fields keep their value.
struct CommandEffect {
  v1::Job::State state;
  v1::Job::DesiredState desired_state;
  v1::Job::WaitReason wait_reason;
  // False: no change, nothing to store.
  bool changed = false;
};
struct CommandInput {
  v1::Job::State state;
  v1::Job::DesiredState desired_state;
  v1::Job::WaitReason wait_reason;
  bool has_verified_checkpoint = false;
  // Pause and graceful Stop let the job finish.
  bool save_final_begun = false;
  // RUNNING without an attempt: the final model awaits its evaluation. A stop ends the job at once.
  bool awaiting_evaluation = false;
};
// Errors: FailedPrecondition naming command and state ("Pause is refused while the job is STOPPING:
// …"), with what to do instead.
absl::StatusOr<CommandEffect> ApplyCommand(JobCommand command, const CommandInput& input);

const char* StateName(v1::Job::State state);
const char* CommandName(JobCommand command);

}  // namespace trainerd
