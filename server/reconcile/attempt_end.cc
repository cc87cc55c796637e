// SPDX-License-Identifier: Apache-2.0
#include "server/reconcile/attempt_end.h"

#include <csignal>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "proto/base/format.h"

namespace trainerd::server {
namespace {

using Attempt = v1::Attempt;
using Job = v1::Job;

v1::JobError MakeError(std::string code, v1::JobError::Cause cause, bool retryable,
                       std::string message, int attempt) {
  v1::JobError error;
  error.set_code(std::move(code));
  error.set_cause(cause);
  error.set_retryable(retryable);
  error.set_message(std::move(message));
  error.set_attempt(attempt);
  return error;
}

// "; it had used 1.2 GiB at most"; empty when that was not measured.
std::string PeakText(int64_t bytes) {
  if (bytes <= 0) return "";
  return absl::StrCat("; it had used ", FormatBytes(bytes), " at most");
}

v1::JobError CrashError(const internal::ExitRecord& exit, int attempt) {
  std::string what =
      exit.signal() != 0
          ? absl::StrCat("the worker was ended by signal ", exit.signal(), " (",
                         ::strsignal(exit.signal()), ")")
          : absl::StrCat("the worker exited with code ", exit.exit_code(), " and without a record");
  if (exit.signal() == SIGKILL && !exit.likely_out_of_memory()) {
    absl::StrAppend(&what,
                    ". trainerd did not send the signal and the kernel reports no OOM kill; check "
                    "which other process on this machine kills processes");
  }
  v1::JobError error =
      exit.likely_out_of_memory()
          ? MakeError("WORKER_OUT_OF_MEMORY", v1::JobError::OUT_OF_MEMORY, true,
                      absl::StrCat(what, ", probably by the kernel's OOM killer",
                                   PeakText(exit.memory_peak_bytes()),
                                   "; lower train.batch_size or data.max_length"),
                      attempt)
          : MakeError("WORKER_CRASHED", v1::JobError::INTERNAL, true, what, attempt);
  error.set_exit_code(exit.exit_code());
  error.set_signal(exit.signal());
  error.set_log_excerpt(exit.log_excerpt());
  return error;
}

AttemptVerdict JudgeByWorker(const internal::WorkerExitRecord& record, int attempt) {
  AttemptVerdict verdict{.end = record.end()};
  if (record.has_error()) {
    verdict.error = record.error();
    verdict.error->set_attempt(attempt);
  }
  verdict.lacks_space = record.needed_bytes() > 0;
  verdict.counts =
      !verdict.lacks_space && (record.end() == Attempt::FAILED || record.end() == Attempt::CRASHED);
  return verdict;
}

EndOutcome Requeue(const EndInput& input, Job::WaitReason wait, std::string reason) {
  return {.state = Job::QUEUED,
          .desired_state = Job::DESIRED_RUN,
          .wait_reason = wait,
          .error = input.verdict.error,
          .reason = std::move(reason)};
}

EndOutcome Fail(const EndInput& input, v1::JobError error, std::string reason) {
  return {.state = Job::FAILED,
          .desired_state = input.desired_state,
          .error = std::move(error),
          .reason = std::move(reason)};
}

// The daemon ended the attempt to use its device for another job, or because it drains. A time
// slice that was too short for a checkpoint is a failure: without it the job would start over for
// ever.
EndOutcome EndRequeued(const EndInput& input) {
  const bool slice = input.requeue == internal::REQUEUE_ATTEMPT_TIME;
  const bool drain = input.requeue == internal::REQUEUE_DRAIN;
  EndOutcome out = Requeue(input, Job::PREEMPTED,
                           slice   ? "limits.max_attempt_time is over"
                           : drain ? "the daemon drains"
                                   : "preempted");
  out.slice_over = slice;
  // A restart of the machine and a full disk are nobody's failure.
  const bool lost = input.verdict.end == Attempt::LOST && !input.verdict.counts;
  if (!slice || input.advanced || lost || input.verdict.lacks_space) return out;
  const int failures = input.failures_without_progress + 1;
  v1::JobError error = MakeError(
      "ATTEMPT_TIME_LIMIT", v1::JobError::LIMIT, true,
      "limits.max_attempt_time ended the attempt before it had a newer verified checkpoint; raise "
      "the limit (`trainctl update JOB limits.max_attempt_time=…`)",
      input.attempt);
  if (failures >= input.max_failures) {
    out = Fail(input, std::move(error),
               absl::StrCat(failures, " failures in a row without a newer verified checkpoint"));
  } else {
    out.error = std::move(error);
  }
  out.slice_over = true;
  out.failures_without_progress = failures;
  return out;
}

// Outcome of a pause, a resume while pausing, or a stop, when the attempt has ended without
// finishing the job.
EndOutcome EndAsRequested(const EndInput& input) {
  EndOutcome out{.state = input.state, .desired_state = input.desired_state};
  const bool saved = input.has_verified_checkpoint;
  out.error = input.verdict.error;
  if (input.state == Job::PAUSING) {
    const bool run = input.desired_state == Job::DESIRED_RUN;
    if (run && input.requeue != internal::REQUEUE_REASON_UNSPECIFIED) return EndRequeued(input);
    if (saved) {
      out.state = run ? Job::QUEUED : Job::PAUSED;
      out.through_paused = run;
    } else {
      out.state = Job::QUEUED;
    }
    if (out.state == Job::QUEUED) out.wait_reason = run ? Job::RESOURCES : Job::HELD;
    out.reason = saved ? "paused at the newest verified checkpoint" : "nothing to resume from yet";
    return out;
  }
  const bool graceful = input.desired_state == Job::DESIRED_STOP;
  out.state = graceful && saved ? Job::STOPPED : Job::CANCELLED;
  out.reason = graceful ? (saved ? "stopped at the newest verified checkpoint"
                                 : "stopped before there was a checkpoint")
                        : "discarded on request";
  return out;
}

EndOutcome RetryOrFail(const EndInput& input, v1::JobError error) {
  const int failures = input.advanced ? 0 : input.failures_without_progress + 1;
  EndOutcome out;
  if (!error.retryable()) {
    out = Fail(input, std::move(error), "the error is not retryable");
  } else if (failures >= input.max_failures) {
    out = Fail(input, std::move(error),
               absl::StrCat(failures, " failures in a row without a newer verified checkpoint"));
  } else {
    out = Requeue(input, Job::BACKOFF, absl::StrCat("retry after: ", error.code()));
    out.error = std::move(error);
  }
  out.failures_without_progress = failures;
  out.retries = input.advanced ? 1 : input.retries + 1;
  return out;
}

EndOutcome Complete(const EndInput& input) {
  if (input.applied_step <= 0) {
    return Fail(
        input,
        MakeError(
            "NO_STEPS", v1::JobError::DATA, false,
            "the attempt ended without an optimizer step; check that the data has target tokens",
            input.attempt),
        "no step was applied");
  }
  if (!input.final_status.ok()) {
    return RetryOrFail(input, MakeError("FINAL_NOT_VERIFIED", v1::JobError::STORAGE, true,
                                        std::string(input.final_status.message()), input.attempt));
  }
  return {.state = Job::SUCCEEDED,
          .desired_state = input.desired_state,
          .reason = "the final model is verified",
          .through_running = input.state == Job::STARTING};
}

EndOutcome EndRunning(const EndInput& input) {
  if (input.verdict.lacks_space) {
    return Requeue(input, Job::DISK,
                   absl::StrCat(input.verdict.error->message(), ", and the job starts by itself"));
  }
  switch (input.verdict.end) {
    case Attempt::PREEMPTED_OK:
      return Requeue(input, Job::PREEMPTED, "the worker was requested to free its device");
    case Attempt::PAUSED_OK:
    case Attempt::STOPPED_OK:
    case Attempt::DISCARDED:
      // No command of this daemon did; the machine or its service manager did.
      return Requeue(input, Job::RESOURCES, "the attempt was ended by another program");
    default:
      break;
  }
  v1::JobError error =
      input.verdict.error.value_or(MakeError("ATTEMPT_ENDED", v1::JobError::INTERNAL, true,
                                             "the attempt ended without an error", input.attempt));
  if (!input.verdict.counts) {
    EndOutcome out = Requeue(input, Job::BACKOFF,
                             absl::StrCat("retry, not counted as a failure: ", error.code()));
    out.error = std::move(error);
    out.retries = input.advanced ? 1 : input.retries + 1;
    return out;
  }
  return RetryOrFail(input, std::move(error));
}

}  // namespace

AttemptVerdict JudgeAttempt(const Observation& observation, int attempt, bool boot_changed) {
  if (observation.worker_exit.has_value()) return JudgeByWorker(*observation.worker_exit, attempt);
  if (observation.exit.has_value()) {
    const internal::ExitRecord& exit = *observation.exit;
    if (!exit.spawn_error().empty()) {
      return {.end = Attempt::LOST,
              .error = MakeError("ATTEMPT_NOT_STARTED", v1::JobError::EXECUTOR, true,
                                 exit.spawn_error(), attempt)};
    }
    if (exit.killed_by_escalation()) {
      v1::JobError error =
          MakeError("WORKER_KILLED", v1::JobError::EXECUTOR, true,
                    "the worker was killed because it did not exit before its deadline", attempt);
      error.set_signal(exit.signal());
      error.set_log_excerpt(exit.log_excerpt());
      return {.end = Attempt::KILLED, .error = error, .counts = true};
    }
    return {.end = Attempt::CRASHED, .error = CrashError(exit, attempt), .counts = true};
  }
  if (boot_changed) {
    return {.end = Attempt::LOST,
            .error = MakeError("MACHINE_RESTARTED", v1::JobError::HARDWARE, true,
                               "the machine restarted while the attempt ran", attempt)};
  }
  if (observation.never_started) {
    return {.end = Attempt::LOST,
            .error = MakeError("ATTEMPT_NOT_STARTED", v1::JobError::EXECUTOR, true,
                               "the attempt was never started", attempt)};
  }
  return {
      .end = Attempt::LOST,
      .error = MakeError("ATTEMPT_LOST", v1::JobError::EXECUTOR, true,
                         absl::StrCat("the attempt's processes have exited without a record",
                                      observation.detail.empty() ? "" : ": ", observation.detail),
                         attempt),
      .counts = true};
}

EndOutcome DecideEnd(const EndInput& input) {
  const bool dropped = input.state == Job::STOPPING && input.desired_state >= Job::DESIRED_DISCARD;
  EndOutcome out;
  if (dropped) {
    out = EndAsRequested(input);
  } else if (input.verdict.end == Attempt::COMPLETED) {
    out = Complete(input);
  } else if (input.limit_reached) {
    out = Fail(input,
               MakeError("RUN_TIME_LIMIT", v1::JobError::LIMIT, false,
                         "limits.max_run_time has expired; continue with `trainctl submit --from` "
                         "and a higher limit",
                         input.attempt),
               "limits.max_run_time has expired");
  } else if (input.state == Job::PAUSING && input.verdict.end == Attempt::FAILED &&
             input.verdict.error.has_value() && !input.verdict.error->retryable()) {
    out = Fail(input, *input.verdict.error, "the error is not retryable");
  } else if (input.state == Job::PAUSING || input.state == Job::STOPPING) {
    out = EndAsRequested(input);
  } else {
    out = EndRunning(input);
  }
  // RetryOrFail assumes that the job should run. A pause or stop takes precedence over a retry.
  if (out.state == Job::QUEUED && input.state == Job::PAUSING &&
      input.verdict.end == Attempt::COMPLETED) {
    out = EndAsRequested(input);
  } else if (out.state == Job::QUEUED && input.state == Job::STOPPING) {
    out = EndAsRequested(input);
  }
  if (!out.failures_without_progress.has_value()) {
    out.failures_without_progress = input.advanced ? 0 : input.failures_without_progress;
  }
  if (!out.retries.has_value()) out.retries = input.advanced ? 0 : input.retries;
  return out;
}

}  // namespace trainerd::server
