// SPDX-License-Identifier: Apache-2.0
#include "server/ledger/evaluations/evaluations.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/base/format.h"
#include "proto/base/status_macros.h"
#include "proto/base/time.h"
#include "proto/contract/job/names.h"
#include "server/ledger/transition.h"
#include "server/store/rows/run_rows.h"

namespace trainerd::server {
namespace {

using Evaluation = v1::Evaluation;

constexpr char kAwaiting[] = "AwaitingEvaluation";

absl::Status StoreWithEvent(Transaction& transaction, EvaluationRecord* record) {
  RETURN_IF_ERROR(StoreEvaluation(transaction.db(), record));
  v1::Event event;
  event.set_job(record->evaluation.job());
  *event.mutable_remote_eval()->mutable_evaluation() = record->evaluation;
  return transaction.Append(std::move(event));
}

// The last part of an evaluation's name.
std::string IdOf(const NewEvaluation& evaluation) {
  if (evaluation.trigger == Evaluation::START || IsStartName(evaluation.model))
    return absl::StrCat(evaluation.entry, "-start");
  if (IsFinalName(evaluation.model)) return absl::StrCat(evaluation.entry, "-final");
  return absl::StrCat(evaluation.entry, "-", CheckpointId(evaluation.model));
}

// A lease that outlives the deadline would be of no use.
void SetLeaseEnd(const Transaction& transaction, absl::Duration duration,
                 EvaluationRecord* record) {
  const absl::Time now = transaction.steady_now();
  record->lease_end = std::min(now + duration, record->deadline);
  *record->evaluation.mutable_lease_expire_time() =
      ToProto(transaction.now() + (record->lease_end - now));
}

absl::StatusOr<TriggerHistory> HistoryOf(Transaction& transaction, const JobRecord& record,
                                         const std::string& entry, const std::string& model) {
  ASSIGN_OR_RETURN(const EntryTriggers triggers,
                   LoadEntryTriggers(transaction.db(), JobId(record.job.name()), entry, model));
  return TriggerHistory{
      .triggered = triggers.of_model,
      .interval_step = std::max(triggers.interval_step.value_or(0), record.ledger.init_step()),
      .gap_since = triggers.gap_since};
}

// Ends the job's wait if this was the last evaluation that it awaited.
absl::Status EndWaitIfOver(Transaction& transaction, const std::string& job_id) {
  ASSIGN_OR_RETURN(JobRecord record, LoadJob(transaction.db(), job_id));
  if (!record.ledger.awaiting_evaluation()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const bool open, HasOpenRequired(transaction.db(), job_id));
  if (open) return absl::OkStatus();
  return EndEvaluationWait(transaction,
                           {.to = v1::Job::SUCCEEDED,
                            .desired_state = record.job.desired_state(),
                            .reason = "the final model is verified, and its evaluation has ended",
                            .actor = "reconciler"},
                           &record);
}

}  // namespace

EvaluationState StateOf(const EvaluationRecord& record) {
  return {.state = record.evaluation.state(),
          .lease = record.lease,
          .lease_end = record.lease_end,
          .deadline = record.deadline};
}

absl::StatusOr<EvaluationRecord> AddEvaluation(Transaction& transaction, NewEvaluation added) {
  const absl::Time now = transaction.now();
  EvaluationRecord record{.evaluation = {},
                          .entry = added.entry,
                          .trigger_time = transaction.steady_now(),
                          .deadline = transaction.steady_now() + added.deadline,
                          .lease = {}};
  ASSIGN_OR_RETURN(const std::string id,
                   FreeEvaluationId(transaction.db(), JobId(added.job), IdOf(added)));
  Evaluation& evaluation = record.evaluation;
  evaluation.set_name(EvaluationName(added.job, id));
  evaluation.set_job(added.job);
  evaluation.set_model(added.model);
  evaluation.set_step(added.step);
  evaluation.set_state(Evaluation::TRIGGERED);
  evaluation.set_trigger(added.trigger);
  evaluation.set_suite(added.suite);
  evaluation.mutable_params()->insert(added.params.begin(), added.params.end());
  evaluation.set_required(added.required);
  *evaluation.mutable_create_time() = ToProto(now);
  *evaluation.mutable_expire_time() = ToProto(now + added.deadline);
  RETURN_IF_ERROR(StoreWithEvent(transaction, &record));
  return record;
}

absl::Status TriggerEvaluations(Transaction& transaction, const JobRecord& record,
                                const std::string& model, TriggerPoint point) {
  point.now = transaction.steady_now();
  for (const v1::RemoteEvaluationConfig& entry : record.job.config().evaluation().remote()) {
    ASSIGN_OR_RETURN(const TriggerHistory history,
                     HistoryOf(transaction, record, entry.name(), model));
    const Evaluation::Trigger trigger = DecideTrigger(entry.when(), point, history);
    if (trigger == Evaluation::TRIGGER_UNSPECIFIED) continue;
    RETURN_IF_ERROR(
        AddEvaluation(transaction, {.job = record.job.name(),
                                    .entry = entry.name(),
                                    .model = model,
                                    .step = point.step,
                                    .trigger = trigger,
                                    .suite = entry.suite(),
                                    .params = {entry.params().begin(), entry.params().end()},
                                    .deadline = FromProto(entry.deadline()),
                                    .required = entry.required() && trigger == Evaluation::END})
            .status());
  }
  return absl::OkStatus();
}

absl::Status TriggerIfBestChanged(Transaction& transaction, const JobRecord& record,
                                  const std::string& before) {
  const v1::Job& job = record.job;
  const std::string& best = job.best_checkpoint();
  if (best.empty() || best == before || job.config().evaluation().remote().empty())
    return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::optional<CheckpointRow> row,
                   FindCheckpoint(transaction.db(), JobId(best), CheckpointId(best)));
  if (!row.has_value()) return absl::OkStatus();
  return TriggerEvaluations(transaction, record, best,
                            {.kind = TriggerPoint::Kind::kBest, .step = row->checkpoint.step()});
}

std::string StartModel(const v1::Job& job) {
  return job.base().empty() ? StartName(job.name()) : job.base();
}

absl::Status GiveLease(Transaction& transaction, const Lease& lease, EvaluationRecord* record) {
  Evaluation& evaluation = record->evaluation;
  record->lease = lease.id;
  evaluation.set_evaluator(lease.evaluator);
  evaluation.set_lease_count(evaluation.lease_count() + 1);
  SetLeaseEnd(transaction, lease.duration, record);
  if (evaluation.state() == Evaluation::LEASED) return StoreEvaluation(transaction.db(), record);
  evaluation.set_state(Evaluation::LEASED);
  return StoreWithEvent(transaction, record);
}

absl::Status RenewLease(Transaction& transaction, absl::Duration duration,
                        EvaluationRecord* record) {
  SetLeaseEnd(transaction, duration, record);
  return StoreEvaluation(transaction.db(), record);
}

absl::Status EndEvaluation(Transaction& transaction, Evaluation::State state,
                           EvaluationRecord* record) {
  Evaluation& evaluation = record->evaluation;
  if (HasEnded(evaluation.state()) || !HasEnded(state)) {
    return absl::InternalError(absl::StrCat(evaluation.name(), ": no transition from ",
                                            Evaluation::State_Name(evaluation.state()), " to ",
                                            Evaluation::State_Name(state)));
  }
  evaluation.set_state(state);
  *evaluation.mutable_end_time() = ToProto(transaction.now());
  RETURN_IF_ERROR(StoreWithEvent(transaction, record));
  return evaluation.required() ? EndWaitIfOver(transaction, JobId(evaluation.job()))
                               : absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> ExpireEvaluations(Transaction& transaction, int limit) {
  ASSIGN_OR_RETURN(std::vector<EvaluationRecord> expired,
                   ListExpired(transaction.db(), transaction.steady_now(), limit));
  std::vector<std::string> models;
  for (EvaluationRecord& record : expired) {
    models.push_back(record.evaluation.model());
    RETURN_IF_ERROR(EndEvaluation(transaction, Evaluation::EXPIRED, &record));
  }
  return models;
}

absl::StatusOr<int> CancelEvaluations(Transaction& transaction, const std::string& job_id) {
  ASSIGN_OR_RETURN(std::vector<EvaluationRecord> open,
                   ListOpen(transaction.db(), job_id, kCancelledAtOnce));
  for (EvaluationRecord& record : open) {
    record.evaluation.set_error(absl::StrCat(JobName(job_id), " was deleted"));
    RETURN_IF_ERROR(EndEvaluation(transaction, Evaluation::CANCELLED, &record));
  }
  return static_cast<int>(open.size());
}

absl::Status CancelAllEvaluations(Store& store, const std::string& job_id) {
  int cancelled = kCancelledAtOnce;
  while (cancelled == kCancelledAtOnce) {
    RETURN_IF_ERROR(store.Change([&](Transaction& t) -> absl::Status {
      ASSIGN_OR_RETURN(cancelled, CancelEvaluations(t, job_id));
      return absl::OkStatus();
    }));
  }
  return absl::OkStatus();
}

absl::Status BeginEvaluationWait(Transaction& transaction, JobRecord* record) {
  v1::Job& job = record->job;
  if (job.state() != v1::Job::RUNNING) {
    RETURN_IF_ERROR(ApplyTransition(transaction,
                                    {.to = v1::Job::RUNNING,
                                     .desired_state = v1::Job::DESIRED_RUN,
                                     .reason = "the final model awaits its evaluation",
                                     .actor = "reconciler"},
                                    record));
  }
  internal::JobLedger& ledger = record->ledger;
  ledger.set_awaiting_evaluation(true);
  // limits.max_run_time counts training.
  if (ledger.has_running_since()) {
    ledger.set_run_seconds(
        ledger.run_seconds() +
        absl::ToDoubleSeconds(transaction.steady_now() - FromProto(ledger.running_since())));
    ledger.clear_running_since();
  }
  ledger.clear_end_deadline();
  ledger.clear_end_requested();
  ledger.clear_end_grace();
  job.clear_devices();
  job.clear_error();
  RETURN_IF_ERROR(
      ApplyCondition(transaction,
                     {.type = kAwaiting,
                      .active = true,
                      .reason = "REQUIRED",
                      .message = "the final model is verified, and a required evaluation of it is "
                                 "open; the job holds no device"},
                     record)
          .status());
  return StoreJob(transaction.db(), record);
}

absl::Status EndEvaluationWait(Transaction& transaction, Transition end, JobRecord* record) {
  record->ledger.set_awaiting_evaluation(false);
  RETURN_IF_ERROR(
      ApplyCondition(transaction, {.type = kAwaiting, .active = false, .reason = "ENDED"}, record)
          .status());
  return ApplyTransition(transaction, std::move(end), record);
}

}  // namespace trainerd::server
