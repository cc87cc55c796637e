// SPDX-License-Identifier: Apache-2.0
// The switches list every value, sentinels included, and have no default: a new state does not
// compile until each table has it.
#include "proto/contract/job/job_state.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "proto/base/enum_sentinels.h"

#pragma GCC diagnostic error "-Wswitch"

namespace trainerd {
namespace {

using Job = v1::Job;

CommandEffect Unchanged(const CommandInput& input) {
  return {.state = input.state,
          .desired_state = input.desired_state,
          .wait_reason = input.wait_reason,
          .changed = false};
}

// The effect, with `changed` if anything differs: a repeated command stores nothing.
CommandEffect Become(const CommandInput& input, Job::State state, Job::DesiredState desired,
                     Job::WaitReason wait) {
  const bool changed =
      state != input.state || desired != input.desired_state || wait != input.wait_reason;
  return {.state = state, .desired_state = desired, .wait_reason = wait, .changed = changed};
}

CommandEffect SetDesiredState(const CommandInput& input, Job::DesiredState desired) {
  return Become(input, input.state, desired, input.wait_reason);
}

absl::Status Refused(JobCommand command, Job::State state, absl::string_view advice) {
  return absl::FailedPreconditionError(absl::StrCat(
      CommandName(command), " is refused while the job is ", StateName(state), ": ", advice));
}

absl::Status Unknown(Job::State state) {
  return absl::InternalError(
      absl::StrCat("job state ", static_cast<int>(state), " is not known to this version"));
}

constexpr char kContinueAdvice[] = "continue its work in a new job with `trainctl submit --from`";

absl::StatusOr<CommandEffect> ApplyPause(const CommandInput& input) {
  switch (input.state) {
    case Job::QUEUED:
      return Become(input, Job::QUEUED, Job::DESIRED_PAUSE, Job::HELD);
    case Job::STARTING:
      return Become(input, Job::PAUSING, Job::DESIRED_PAUSE, Job::WAIT_REASON_UNSPECIFIED);
    case Job::RUNNING:
      if (input.save_final_begun || input.awaiting_evaluation) return Unchanged(input);
      return Become(input, Job::PAUSING, Job::DESIRED_PAUSE, Job::WAIT_REASON_UNSPECIFIED);
    case Job::PAUSING:
    case Job::PAUSED:
      // Takes back a Resume that came while pausing.
      return SetDesiredState(input, Job::DESIRED_PAUSE);
    case Job::STOPPING:
      return Refused(JobCommand::kPause, input.state,
                     absl::StrCat("it is being ended; once it has ended, ", kContinueAdvice));
    case Job::SUCCEEDED:
    case Job::STOPPED:
    case Job::CANCELLED:
    case Job::FAILED:
      return Refused(JobCommand::kPause, input.state, "it has ended and holds no device");
    case Job::STATE_UNSPECIFIED:
    case kMinSentinel<v1::Job::State>:
    case kMaxSentinel<v1::Job::State>:
      break;
  }
  return Unknown(input.state);
}

absl::StatusOr<CommandEffect> ApplyResume(const CommandInput& input) {
  switch (input.state) {
    case Job::QUEUED:
      if (input.wait_reason == Job::HELD)
        return Become(input, Job::QUEUED, Job::DESIRED_RUN, Job::RESOURCES);
      return SetDesiredState(input, Job::DESIRED_RUN);
    case Job::STARTING:
    case Job::RUNNING:
      return SetDesiredState(input, Job::DESIRED_RUN);
    case Job::PAUSING:
      // The pause is finished first: PAUSED, then QUEUED.
      return SetDesiredState(input, Job::DESIRED_RUN);
    case Job::PAUSED:
      return Become(input, Job::QUEUED, Job::DESIRED_RUN, Job::RESOURCES);
    case Job::STOPPING:
      return Refused(JobCommand::kResume, input.state,
                     absl::StrCat("it is being ended; once it has ended, ", kContinueAdvice));
    case Job::SUCCEEDED:
    case Job::STOPPED:
    case Job::CANCELLED:
    case Job::FAILED:
      return Refused(JobCommand::kResume, input.state, kContinueAdvice);
    case Job::STATE_UNSPECIFIED:
    case kMinSentinel<v1::Job::State>:
    case kMaxSentinel<v1::Job::State>:
      break;
  }
  return Unknown(input.state);
}

// What a stop command wants; only stop commands come here.
Job::DesiredState DesiredOfStop(JobCommand command) {
  switch (command) {
    case JobCommand::kStopDiscard:
      return Job::DESIRED_DISCARD;
    case JobCommand::kStopForce:
      return Job::DESIRED_FORCE;
    case JobCommand::kStopGraceful:
    case JobCommand::kPause:
    case JobCommand::kResume:
      break;
  }
  return Job::DESIRED_STOP;
}

absl::StatusOr<CommandEffect> ApplyStop(JobCommand command, const CommandInput& input) {
  const bool graceful = command == JobCommand::kStopGraceful;
  const Job::DesiredState desired = DesiredOfStop(command);
  const Job::WaitReason none = Job::WAIT_REASON_UNSPECIFIED;
  switch (input.state) {
    case Job::QUEUED:
    case Job::PAUSED:
      // STOPPED promises a verified checkpoint.
      return Become(input,
                    graceful && input.has_verified_checkpoint ? Job::STOPPED : Job::CANCELLED,
                    desired, none);
    case Job::RUNNING:
      if (input.awaiting_evaluation)
        return Become(input, graceful ? Job::SUCCEEDED : Job::CANCELLED, desired, none);
      if (graceful && input.save_final_begun) return Unchanged(input);
      return Become(input, Job::STOPPING, desired, none);
    case Job::STARTING:
    case Job::PAUSING:
      return Become(input, Job::STOPPING, desired, none);
    case Job::STOPPING:
      // DesiredState is ordered by severity; the action requested of an attempt that is ending only
      // becomes more severe.
      return SetDesiredState(input, std::max(input.desired_state, desired));
    case Job::STOPPED:
    case Job::CANCELLED:
      return Unchanged(input);
    case Job::SUCCEEDED:
    case Job::FAILED:
      return Refused(command, input.state, "it has already ended by itself");
    case Job::STATE_UNSPECIFIED:
    case kMinSentinel<v1::Job::State>:
    case kMaxSentinel<v1::Job::State>:
      break;
  }
  return Unknown(input.state);
}

}  // namespace

bool IsTerminal(Job::State state) {
  switch (state) {
    case Job::SUCCEEDED:
    case Job::STOPPED:
    case Job::CANCELLED:
    case Job::FAILED:
      return true;
    case Job::QUEUED:
    case Job::STARTING:
    case Job::RUNNING:
    case Job::PAUSING:
    case Job::PAUSED:
    case Job::STOPPING:
    case Job::STATE_UNSPECIFIED:
    case kMinSentinel<v1::Job::State>:
    case kMaxSentinel<v1::Job::State>:
      return false;
  }
  return false;
}

bool IsActive(Job::State state) {
  switch (state) {
    case Job::STARTING:
    case Job::RUNNING:
    case Job::PAUSING:
    case Job::STOPPING:
      return true;
    case Job::QUEUED:
    case Job::PAUSED:
    case Job::SUCCEEDED:
    case Job::STOPPED:
    case Job::CANCELLED:
    case Job::FAILED:
    case Job::STATE_UNSPECIFIED:
    case kMinSentinel<v1::Job::State>:
    case kMaxSentinel<v1::Job::State>:
      return false;
  }
  return false;
}

bool IsTransitionAllowed(Job::State from, Job::State to) {
  if (from == to)
    return from != Job::STATE_UNSPECIFIED && !IsTerminal(from) && Job::State_IsValid(from);
  switch (from) {
    case Job::STATE_UNSPECIFIED:
      // A job's first event.
      return to == Job::QUEUED;
    case Job::QUEUED:
      // FAILED: the executor's verdict that it can never start.
      return to == Job::STARTING || to == Job::STOPPED || to == Job::CANCELLED || to == Job::FAILED;
    case Job::STARTING:
      return to == Job::RUNNING || to == Job::PAUSING || to == Job::STOPPING || to == Job::QUEUED ||
             to == Job::FAILED;
    case Job::RUNNING:
      // CANCELLED: discarded while its final model awaited an evaluation.
      return to == Job::SUCCEEDED || to == Job::PAUSING || to == Job::STOPPING ||
             to == Job::QUEUED || to == Job::FAILED || to == Job::CANCELLED;
    case Job::PAUSING:
      // SUCCEEDED: SaveFinal had begun when the pause arrived; RUNNING: and the final model awaits
      // its evaluation. QUEUED: HELD, because there is nothing to resume from.
      return to == Job::PAUSED || to == Job::RUNNING || to == Job::QUEUED || to == Job::STOPPING ||
             to == Job::SUCCEEDED || to == Job::FAILED;
    case Job::PAUSED:
      return to == Job::QUEUED || to == Job::STOPPED || to == Job::CANCELLED;
    case Job::STOPPING:
      // SUCCEEDED: as above. FAILED: a run-time limit, or an error of its own on the way out.
      return to == Job::STOPPED || to == Job::CANCELLED || to == Job::SUCCEEDED ||
             to == Job::FAILED;
    case Job::SUCCEEDED:
    case Job::STOPPED:
    case Job::CANCELLED:
    case Job::FAILED:
    case kMinSentinel<v1::Job::State>:
    case kMaxSentinel<v1::Job::State>:
      return false;
  }
  return false;
}

absl::StatusOr<CommandEffect> ApplyCommand(JobCommand command, const CommandInput& input) {
  switch (command) {
    case JobCommand::kPause:
      return ApplyPause(input);
    case JobCommand::kResume:
      return ApplyResume(input);
    case JobCommand::kStopGraceful:
    case JobCommand::kStopDiscard:
    case JobCommand::kStopForce:
      return ApplyStop(command, input);
  }
  return absl::InternalError(
      absl::StrCat("job command ", static_cast<int>(command), " is not known"));
}

const char* StateName(Job::State state) {
  switch (state) {
    case Job::QUEUED:
      return "QUEUED";
    case Job::STARTING:
      return "STARTING";
    case Job::RUNNING:
      return "RUNNING";
    case Job::PAUSING:
      return "PAUSING";
    case Job::PAUSED:
      return "PAUSED";
    case Job::STOPPING:
      return "STOPPING";
    case Job::SUCCEEDED:
      return "SUCCEEDED";
    case Job::STOPPED:
      return "STOPPED";
    case Job::CANCELLED:
      return "CANCELLED";
    case Job::FAILED:
      return "FAILED";
    case Job::STATE_UNSPECIFIED:
    case kMinSentinel<v1::Job::State>:
    case kMaxSentinel<v1::Job::State>:
      return "UNSPECIFIED";
  }
  return "UNSPECIFIED";
}

const char* CommandName(JobCommand command) {
  switch (command) {
    case JobCommand::kPause:
      return "Pause";
    case JobCommand::kResume:
      return "Resume";
    case JobCommand::kStopGraceful:
      return "Stop (graceful)";
    case JobCommand::kStopDiscard:
      return "Stop (discard)";
    case JobCommand::kStopForce:
      return "Stop (force)";
  }
  return "?";
}

}  // namespace trainerd
