// SPDX-License-Identifier: Apache-2.0
// The job's state table and the command table of job.proto as exhaustive switches. Pure functions.
#pragma once

#include "absl/status/statusor.h"
#include "trainerd/v1/job.pb.h"

namespace trainerd {

bool IsTerminal(v1::Job::State state);
// An attempt exists or is being made or ended.
bool IsActive(v1::Job::State state);
// The only edges that a state may take (from = to is allowed for changes of desired_state or
// wait_reason; never out of a terminal state).
bool IsTransitionAllowed(v1::Job::State from, v1::Job::State to);

enum class JobCommand { kPause, kResume, kStopGraceful, kStopDiscard, kStopForce };

// What a command makes of a job; the caller stores it. Unchanged fields keep their value.
struct CommandEffect {
  v1::Job::State state;
  v1::Job::DesiredState desired_state;
  v1::Job::WaitReason wait_reason;
  bool changed = false;  // false: "as is", nothing to store
};
struct CommandInput {
  v1::Job::State state;
  v1::Job::DesiredState desired_state;
  v1::Job::WaitReason wait_reason;
  bool has_verified_checkpoint = false;
  bool save_final_begun = false;  // Pause and graceful Stop let the job finish
};
// Errors: FailedPrecondition naming command and state ("Pause is refused while the job is STOPPING:
// …"), with what to do instead.
absl::StatusOr<CommandEffect> ApplyCommand(JobCommand command, const CommandInput& input);

const char* StateName(v1::Job::State state);
const char* CommandName(JobCommand command);

}  // namespace trainerd
