// SPDX-License-Identifier: Apache-2.0
#include "server/reconcile/attempt_changes.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "proto/base/format.h"
#include "proto/base/status_macros.h"
#include "proto/base/time.h"
#include "proto/contract/config/config_paths.h"
#include "proto/contract/job/alerts.h"
#include "proto/contract/job/names.h"
#include "server/files/file_store.h"
#include "server/ledger/drain.h"
#include "server/ledger/evaluations/evaluations.h"
#include "server/ledger/ledger.h"
#include "server/ledger/queue_wait.h"
#include "server/ledger/transition.h"
#include "server/ledger/usage.h"
#include "server/reconcile/attempt_checkpoints.h"
#include "server/reconcile/attempt_end.h"
#include "server/store/rows/run_rows.h"

namespace trainerd::server {
namespace {

absl::Status AppendAttempt(Transaction& transaction, const v1::Attempt& attempt) {
  v1::Event event;
  event.set_job(attempt.job());
  event.set_attempt(attempt.number());
  *event.mutable_attempt_event()->mutable_attempt() = attempt;
  return transaction.Append(std::move(event));
}

void FillFromExitRecords(const Observation& observation, const AttemptVerdict& verdict,
                         absl::Time now, v1::Attempt* attempt) {
  attempt->set_end(verdict.end == v1::Attempt::END_UNSPECIFIED ? v1::Attempt::LOST : verdict.end);
  if (verdict.error.has_value()) *attempt->mutable_error() = *verdict.error;
  *attempt->mutable_end_time() = ToProto(now);
  if (observation.info.has_value()) {
    attempt->set_shim_pid(observation.info->shim().pid());
    attempt->set_worker_pid(observation.info->worker().pid());
  }
  if (observation.worker_exit.has_value() && observation.worker_exit->last_step() > 0) {
    attempt->set_first_step(observation.worker_exit->first_step());
    attempt->set_last_step(observation.worker_exit->last_step());
  }
  if (observation.exit.has_value()) {
    const internal::ExitRecord& exit = *observation.exit;
    if (exit.has_end_time()) *attempt->mutable_end_time() = exit.end_time();
    attempt->set_user_cpu_seconds(exit.user_cpu_seconds());
    attempt->set_system_cpu_seconds(exit.system_cpu_seconds());
    attempt->set_memory_peak_bytes(exit.memory_peak_bytes());
    attempt->set_log_bytes_lost(exit.log_bytes_lost());
  }
}

// The worker has paused; the daemon knows that the job returns to the queue.
void MarkRequeued(const EndOutcome& outcome, v1::Attempt* attempt) {
  if (outcome.wait_reason != v1::Job::PREEMPTED && !outcome.slice_over) return;
  if (attempt->end() == v1::Attempt::PAUSED_OK) attempt->set_end(v1::Attempt::PREEMPTED_OK);
  if (!attempt->has_error() && outcome.error.has_value())
    *attempt->mutable_error() = *outcome.error;
}

// Step of the job without its open attempt: that of the resume point, or of its start.
int64_t BaseStep(const JobRecord& record, const std::optional<v1::Checkpoint>& point) {
  return point ? point->step() : record.ledger.init_step();
}

int64_t AppliedStep(const Observation& observation, int64_t base_step) {
  int64_t step = base_step;
  if (observation.worker_exit.has_value()) {
    step = std::max({step, observation.worker_exit->last_step(),
                     observation.worker_exit->last_checkpoint().step()});
  }
  return step;
}

// Clears the conditions that describe a live attempt, and shows what its end means.
absl::Status EndConditions(Transaction& transaction, const AttemptVerdict& verdict,
                           const EndOutcome& outcome, JobRecord* record) {
  for (const char* type : {"Stalled", "ControlLost"}) {
    RETURN_IF_ERROR(
        ApplyCondition(transaction, {.type = type, .reason = "ATTEMPT_ENDED"}, record).status());
  }
  if (WaitsForCheckpointSpace(record->job)) {
    RETURN_IF_ERROR(
        ApplyCondition(transaction, {.type = "DiskLow", .reason = "ATTEMPT_ENDED"}, record)
            .status());
  }
  if (outcome.wait_reason == v1::Job::DISK)
    RETURN_IF_ERROR(ApplyCondition(transaction, LacksSpace(outcome.reason), record).status());
  // Degraded with another reason stays.
  for (const v1::Job::Condition& condition : record->job.conditions()) {
    if (condition.type() != "Degraded" || condition.reason() != kUnreadableReason) continue;
    RETURN_IF_ERROR(
        ApplyCondition(transaction, {.type = "Degraded", .reason = "READABLE"}, record).status());
    break;
  }
  if (verdict.error.has_value() && verdict.error->cause() == v1::JobError::NUMERICS) {
    RETURN_IF_ERROR(ApplyCondition(transaction,
                                   {.type = "NonFiniteSeen",
                                    .active = true,
                                    .reason = verdict.error->code(),
                                    .message = verdict.error->message()},
                                   record)
                        .status());
  }
  return absl::OkStatus();
}

// Triggers the evaluations of the final model, which is verified. Whether the job waits for one: a
// stop in progress does not.
absl::StatusOr<bool> AwaitsEvaluation(Transaction& transaction, const JobRecord& record) {
  if (record.job.config().evaluation().remote().empty()) return false;
  RETURN_IF_ERROR(
      TriggerEvaluations(transaction, record, FinalName(record.job.name()),
                         {.kind = TriggerPoint::Kind::kEnd, .step = record.ledger.applied_step()}));
  if (record.job.state() == v1::Job::STOPPING) return false;
  return HasOpenRequired(transaction.db(), JobId(record.job.name()));
}

absl::Status MoveOn(Transaction& transaction, const EndOutcome& outcome, JobRecord* record) {
  if (outcome.state == v1::Job::SUCCEEDED) {
    ASSIGN_OR_RETURN(const bool awaits, AwaitsEvaluation(transaction, *record));
    if (awaits) return BeginEvaluationWait(transaction, record);
  }
  Transition step{
      .desired_state = outcome.desired_state, .reason = outcome.reason, .actor = "reconciler"};
  if (outcome.through_running) {
    step.to = v1::Job::RUNNING;
    RETURN_IF_ERROR(ApplyTransition(transaction, step, record));
  }
  if (outcome.through_paused) {
    step.to = v1::Job::PAUSED;
    RETURN_IF_ERROR(ApplyTransition(transaction, step, record));
    step.reason = "resumed while pausing";
  }
  step.to = outcome.state;
  step.wait_reason = outcome.wait_reason;
  step.error = outcome.error;
  return ApplyTransition(transaction, step, record);
}

// Steps of the attempt that no checkpoint holds.
int64_t LostSteps(const v1::Attempt& attempt, int64_t base_step) {
  if (attempt.end() == v1::Attempt::COMPLETED || attempt.last_step() == 0) return 0;
  return std::max<int64_t>(0, attempt.last_step() - base_step);
}

}  // namespace

internal::AttemptSpec MakeSpec(const JobRecord& record, const std::optional<v1::Checkpoint>& resume,
                               const LaunchDefaults& defaults) {
  const v1::Job& job = record.job;
  internal::AttemptSpec spec;
  spec.set_job(job.name());
  spec.set_attempt(job.attempt());
  spec.set_run_dir(job.run_dir());
  *spec.mutable_config()->mutable_config() = job.config();
  if (!defaults.files_dir.empty()) {
    ReplaceUploads(spec.mutable_config()->mutable_config(), [&](const UploadPath& upload) {
      return UploadLocation(defaults.files_dir, upload);
    });
  }
  *spec.mutable_config()->mutable_given() = job.given();
  spec.mutable_config()->set_config_digest(job.config_digest());
  *spec.mutable_devices() = job.devices();
  spec.set_cpu_threads(defaults.cpu_threads);
  if (resume) {
    spec.set_resume_path(resume->path());
    spec.set_resume_name(resume->name());
  } else {
    spec.set_init_path(record.ledger.init_path());
  }
  spec.set_worker_path(defaults.worker_path);
  if (job.has_best_value()) spec.set_best_value(job.best_value());
  if (defaults.output_umask) spec.set_output_umask(*defaults.output_umask);
  return spec;
}

bool LimitDeadlines(absl::Time now, absl::Duration longest_retry, JobRecord* record) {
  internal::JobLedger& ledger = record->ledger;
  bool changed = false;
  const auto limit = [&changed](google::protobuf::Timestamp* time, absl::Time latest) {
    if (FromProto(*time) <= latest) return;
    *time = ToProto(latest);
    changed = true;
  };
  if (ledger.has_running_since()) limit(ledger.mutable_running_since(), now);
  if (ledger.has_end_requested()) limit(ledger.mutable_end_requested(), now);
  if (ledger.has_attempt_since()) limit(ledger.mutable_attempt_since(), now);
  if (ledger.has_verified_since()) limit(ledger.mutable_verified_since(), now);
  if (ledger.has_end_deadline()) {
    const absl::Duration grace = FromProto(
        ledger.has_end_grace() ? ledger.end_grace() : record->job.config().limits().stop_grace());
    limit(ledger.mutable_end_deadline(), now + grace);
  }
  // A row of an earlier version has the time of the system's clock.
  if (record->job.has_not_before() && record->job.wait_reason() == v1::Job::BACKOFF &&
      !ledger.has_retry_time()) {
    *ledger.mutable_retry_time() = record->job.not_before();
    changed = true;
  }
  if (ledger.has_retry_time()) limit(ledger.mutable_retry_time(), now + longest_retry);
  return changed;
}

bool ReportsDamaged(const Observation& observation) {
  return observation.worker_exit.has_value() &&
         observation.worker_exit->error().code() == "CHECKPOINT_DAMAGED";
}

absl::StatusOr<bool> ShowUnreadable(Transaction& transaction, const absl::Status& why,
                                    JobRecord* record) {
  const std::string message = absl::StrCat(std::string(why.message()),
                                           "; the job waits and the read is repeated. Repair the "
                                           "disk, or remove the checkpoint's folder");
  for (const v1::Job::Condition& condition : record->job.conditions()) {
    if (condition.type() == "Degraded" && condition.active() &&
        condition.reason() == kUnreadableReason) {
      return false;
    }
  }
  // The condition can be active for another reason; the notice is appended in any case.
  ASSIGN_OR_RETURN(
      const bool changed,
      ApplyCondition(
          transaction,
          {.type = "Degraded", .active = true, .reason = kUnreadableReason, .message = message},
          record));
  v1::Event event;
  event.set_job(record->job.name());
  event.set_attempt(record->job.attempt());
  event.mutable_notice()->set_level(v1::Notice::ERROR);
  event.mutable_notice()->set_code(kUnreadableReason);
  event.mutable_notice()->set_message(message);
  RETURN_IF_ERROR(transaction.Append(std::move(event)));
  if (changed) RETURN_IF_ERROR(StoreJob(transaction.db(), record));
  return true;
}

absl::StatusOr<JobRecord> OpenAttempt(Transaction& transaction, const OpenAttemptRequest& request) {
  ASSIGN_OR_RETURN(JobRecord record, LoadJob(transaction.db(), request.job_id));
  v1::Job& job = record.job;
  if (job.state() != v1::Job::QUEUED || !MayStart(job.wait_reason()) || job.deleting()) {
    return absl::AbortedError(absl::StrCat(job.name(), " no longer waits for a device"));
  }
  if (record.ledger.resume_from() != request.resume_from)
    return absl::AbortedError(absl::StrCat(job.name(), " shall resume from another checkpoint"));
  if (!request.resume_from.empty() && request.resume) {
    RETURN_IF_ERROR(MakeLineage(transaction, *request.resume));
    // Progress is counted from there.
    record.ledger.set_best_verified_step(request.resume->step());
  } else {
    const int64_t resume_step = request.resume ? request.resume->step() : 0;
    RETURN_IF_ERROR(SupersedeBeyond(transaction, request.job_id, resume_step));
  }
  record.ledger.clear_resume_from();
  job.set_attempt(job.attempt() + 1);
  job.mutable_devices()->Assign(request.devices.begin(), request.devices.end());
  job.set_latest_checkpoint(request.resume ? request.resume->name() : "");
  v1::Progress* progress = job.mutable_progress();
  progress->set_step(BaseStep(record, request.resume));
  progress->set_tokens(request.resume ? request.resume->tokens() : record.ledger.init_tokens());
  progress->clear_stage();
  RewindAlerts(progress->step(), &job);
  record.ledger.set_resume_name(request.resume ? request.resume->name() : "");
  record.ledger.set_save_final_begun(false);
  record.ledger.set_loss_spike_step(0);
  record.ledger.clear_requeue_reason();
  record.ledger.clear_preempted_by();
  *record.ledger.mutable_attempt_since() = ToProto(transaction.steady_now());
  record.ledger.clear_verified_since();
  BeginAttemptUsage(transaction.steady_now(), &record);

  // Ends what was reported about the previous attempt, or about why none could start.
  RETURN_IF_ERROR(
      ApplyCondition(transaction, {.type = "Degraded", .reason = "NEW_ATTEMPT"}, &record).status());
  // With a checkpoint, the housekeeping compares its size with the free space.
  if (!request.resume) {
    RETURN_IF_ERROR(
        ApplyCondition(transaction, {.type = "DiskLow", .reason = "NEW_ATTEMPT"}, &record)
            .status());
  }

  v1::Attempt attempt;
  attempt.set_job(job.name());
  attempt.set_number(job.attempt());
  *attempt.mutable_devices() = job.devices();
  attempt.set_executor("local");
  *attempt.mutable_start_time() = ToProto(transaction.now());
  if (request.resume) attempt.set_resumed_from(request.resume->name());
  RETURN_IF_ERROR(StoreAttempt(transaction.db(), attempt));
  RETURN_IF_ERROR(
      ApplyTransition(transaction,
                      {.to = v1::Job::STARTING,
                       .desired_state = job.desired_state(),
                       .reason = absl::StrCat("got ", absl::StrJoin(request.devices, ", ")),
                       .actor = "scheduler"},
                      &record));
  RETURN_IF_ERROR(AppendAttempt(transaction, attempt));
  return record;
}

absl::StatusOr<JobRecord> CloseAttempt(Transaction& transaction,
                                       const CloseAttemptRequest& request) {
  const Observation& observation = *request.observation;
  ASSIGN_OR_RETURN(JobRecord record, LoadJob(transaction.db(), request.job_id));
  ASSIGN_OR_RETURN(v1::Attempt attempt,
                   LoadAttempt(transaction.db(), request.job_id, request.attempt));
  RETURN_IF_ERROR(AdoptCheckpoints(transaction, &record, *request.scan));
  AttemptVerdict verdict = JudgeAttempt(observation, request.attempt, request.boot_changed);
  if (ReportsDamaged(observation)) {
    if (!attempt.resumed_from().empty()) {
      RETURN_IF_ERROR(MarkResumePointCorrupt(transaction, attempt.resumed_from(), *request.scan,
                                             request.had_read_errors, verdict.error->message()));
    } else if (!verdict.error->retryable()) {
      ASSIGN_OR_RETURN(
          const std::string advice,
          MarkStartCorrupt(transaction, record.ledger.init_name(), verdict.error->message()));
      verdict.error->mutable_message()->append(advice);
    }
  }
  ASSIGN_OR_RETURN(const std::optional<v1::Checkpoint> point,
                   TakeCheckpoints(transaction, &record));
  internal::JobLedger& ledger = record.ledger;
  const int64_t best = point ? point->step() : 0;
  const int64_t base_step = BaseStep(record, point);
  EndOutcome outcome =
      DecideEnd({.state = record.job.state(),
                 .desired_state = record.job.desired_state(),
                 .verdict = verdict,
                 .has_verified_checkpoint = point.has_value(),
                 .advanced = best > ledger.best_verified_step(),
                 .failures_without_progress = ledger.failures_without_progress(),
                 .retries = ledger.retries(),
                 .max_failures = record.job.config().retry().max_failures_without_progress(),
                 .limit_reached = ledger.limit_reached(),
                 .requeue = RequeueReasonOf(ledger),
                 .applied_step = AppliedStep(observation, base_step),
                 .final_status = request.scan->final_status,
                 .attempt = request.attempt});

  FillFromExitRecords(observation, verdict, transaction.now(), &attempt);
  MarkRequeued(outcome, &attempt);
  const int64_t lost = LostSteps(attempt, base_step);
  if (lost > 0) {
    absl::StrAppend(&outcome.reason, "; ", Counted(lost, "step"), lost == 1 ? " is" : " are",
                    " lost");
  }
  EndAttemptUsage(transaction.steady_now(), request.boot_changed, lost, &record);
  if (outcome.slice_over) ledger.set_queue_order(transaction.last_seq() + 1);
  RETURN_IF_ERROR(StoreAttempt(transaction.db(), attempt));
  RETURN_IF_ERROR(AppendAttempt(transaction, attempt));
  RETURN_IF_ERROR(EndConditions(transaction, verdict, outcome, &record));
  if (verdict.lacks_space) ledger.set_needed_bytes(observation.worker_exit->needed_bytes());

  ledger.set_best_verified_step(std::max(ledger.best_verified_step(), best));
  ledger.set_failures_without_progress(outcome.failures_without_progress.value_or(0));
  ledger.set_retries(outcome.retries.value_or(0));
  ledger.set_applied_step(AppliedStep(observation, base_step));
  ledger.clear_resume_name();
  ledger.set_save_final_begun(false);
  ledger.clear_attempt_since();
  ledger.clear_verified_since();
  if (outcome.wait_reason == v1::Job::BACKOFF) {
    const absl::Duration delay =
        BackoffDelay(request.backoff, ledger.retries(), request.unit_random);
    *record.job.mutable_not_before() = ToProto(transaction.now() + delay);
    *ledger.mutable_retry_time() = ToProto(transaction.steady_now() + delay);
  }
  RETURN_IF_ERROR(MoveOn(transaction, outcome, &record));
  return record;
}

}  // namespace trainerd::server
