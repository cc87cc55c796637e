// SPDX-License-Identifier: Apache-2.0
#include "server/ingest/ingest.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/base/format.h"
#include "proto/base/status_macros.h"
#include "proto/base/time.h"
#include "proto/contract/job/alerts.h"
#include "proto/contract/job/job_state.h"
#include "proto/contract/job/metric_values.h"
#include "proto/contract/job/names.h"
#include "proto/contract/job/progress.h"
#include "server/ledger/checkpoints/checkpoint_request.h"
#include "server/ledger/checkpoints/measurements.h"
#include "server/ledger/evaluations/evaluations.h"
#include "server/ledger/ledger.h"
#include "server/ledger/transition.h"
#include "server/ledger/usage.h"
#include "server/store/rows/usage_rows.h"

namespace trainerd::server {
namespace {

// event.proto: Diverging = loss_spike active for this many steps; CheckpointStale = this many
// intervals without a verified checkpoint.
constexpr int64_t kDivergingSteps = 20;
constexpr int64_t kStaleIntervals = 3;

// Ingests one batch: the rows that its events change are loaded once and stored once.
class Intake {
 public:
  Intake(Transaction& transaction, const IngestBatch& batch, JobRecord record, v1::Attempt attempt)
      : transaction_(transaction),
        batch_(batch),
        record_(std::move(record)),
        attempt_(std::move(attempt)) {}

  // Loads the step of the newest verified checkpoint on the lineage. Call before the first event.
  absl::Status LoadResumeStep() {
    const std::string id = CheckpointId(record_.job.latest_checkpoint());
    newest_verified_step_ = record_.ledger.init_step();
    if (id.empty()) return absl::OkStatus();
    ASSIGN_OR_RETURN(std::optional<CheckpointRow> row,
                     FindCheckpoint(transaction_.db(), JobId(batch_.job), id));
    if (row) newest_verified_step_ = row->checkpoint.step();
    return absl::OkStatus();
  }

  absl::Status Take(v1::Event event) {
    event.set_job(batch_.job);
    event.set_attempt(batch_.attempt);
    ApplyToProgress(event, record_.job.mutable_progress());
    CountEvent(event, &record_);
    switch (event.body_case()) {
      case v1::Event::kMetrics:
        RETURN_IF_ERROR(transaction_.Append(event));
        return TakeMetrics(event);
      case v1::Event::kStage:
        RETURN_IF_ERROR(transaction_.Append(event));
        return TakeStage(event);
      case v1::Event::kCheckpoint:
        return TakeCheckpoint(std::move(event));
      case v1::Event::kEval:
        RETURN_IF_ERROR(transaction_.Append(event));
        return TakeEval(event);
      case v1::Event::kAlert:
        RETURN_IF_ERROR(transaction_.Append(event));
        return TakeAlert(event.alert());
      case v1::Event::kNotice:
        RETURN_IF_ERROR(transaction_.Append(event));
        return TakeNotice(event.notice());
      case v1::Event::kStateChanged:
      case v1::Event::kAttemptEvent:
        // Only the daemon makes these; a worker of another version may send one.
        return absl::OkStatus();
      case v1::Event::kConditionChanged:
        return TakeCondition(event.condition_changed().condition());
      default:
        return transaction_.Append(std::move(event));
    }
  }

  absl::Status Finish() {
    RETURN_IF_ERROR(StoreAttempt(transaction_.db(), attempt_));
    RETURN_IF_ERROR(CountDay());
    if (row_changed_) return StoreJob(transaction_.db(), &record_);
    return StoreProgress(transaction_.db(), &record_);
  }

 private:
  // The usage of a day is kept when the next one begins.
  absl::Status CountDay() {
    CountDeviceTime(transaction_.steady_now(), &record_);
    const int64_t today = UsageDay(transaction_.now());
    const int64_t day = record_.usage.day();
    record_.usage.set_day(today);
    return day == 0 || day == today ? absl::OkStatus() : KeepUsage(transaction_, day, &record_);
  }

  absl::Status SetCondition(ConditionUpdate update) {
    ASSIGN_OR_RETURN(const bool changed, ApplyCondition(transaction_, update, &record_));
    row_changed_ |= changed;
    return absl::OkStatus();
  }

  absl::Status TakeMetrics(const v1::Event& event) {
    const int64_t step = event.metrics().step();
    if (attempt_.first_step() == 0) attempt_.set_first_step(step);
    attempt_.set_last_step(step);
    return CheckSteps(step);
  }

  absl::Status CheckSteps(int64_t step) {
    if (IsConditionActive(record_.job, "Stalled")) {
      RETURN_IF_ERROR(SetCondition({.type = "Stalled", .active = false, .reason = "STEP"}));
    }
    const int64_t spike = record_.ledger.loss_spike_step();
    if (spike > 0 && step - spike >= kDivergingSteps) {
      RETURN_IF_ERROR(SetCondition(
          {.type = "Diverging",
           .active = true,
           .reason = "LOSS_SPIKE",
           .message = absl::StrCat("the loss has been far above its trend since step ", spike)}));
    }
    const int64_t interval = record_.job.config().checkpoint().every_steps();
    const int64_t since = step - newest_verified_step_;
    if (interval > 0 && since > kStaleIntervals * interval) {
      RETURN_IF_ERROR(SetCondition(
          {.type = "CheckpointStale",
           .active = true,
           .reason = "NO_VERIFIED_CHECKPOINT",
           .message = absl::StrCat("no verified checkpoint for ", Counted(since, "step"))}));
    }
    return absl::OkStatus();
  }

  // An evaluation precedes the checkpoint of its step, which then takes it over. One that a pause
  // interrupted follows its checkpoint.
  absl::Status TakeEval(const v1::Event& event) {
    ASSIGN_OR_RETURN(std::optional<CheckpointRow> row,
                     FindCheckpointOfStep(transaction_.db(), JobId(batch_.job), MetricStep(event)));
    if (!row.has_value()) return absl::OkStatus();
    row_changed_ = true;
    const std::string best = record_.job.best_checkpoint();
    RETURN_IF_ERROR(RecordMeasurements(transaction_, MeasurementsOf(event),
                                       std::move(row->checkpoint), &record_));
    return TriggerIfBestChanged(transaction_, record_, best);
  }

  absl::Status TakeStage(const v1::Event& event) {
    const v1::StageEvent& stage = event.stage();
    if (stage.finished()) return absl::OkStatus();
    if (stage.stage() == "SaveFinal") {
      record_.ledger.set_save_final_begun(true);
      row_changed_ = true;
    }
    if (stage.stage() != "Train" || record_.job.state() != v1::Job::STARTING)
      return absl::OkStatus();
    row_changed_ = true;
    RETURN_IF_ERROR(ApplyTransition(transaction_,
                                    {.to = v1::Job::RUNNING,
                                     .desired_state = record_.job.desired_state(),
                                     .reason = "training began",
                                     .actor = "worker"},
                                    &record_));
    return TriggerEvaluations(
        transaction_, record_, StartModel(record_.job),
        {.kind = TriggerPoint::Kind::kStart, .step = record_.ledger.init_step()});
  }

  absl::Status TakeCheckpoint(v1::Event event) {
    v1::CheckpointEvent* body = event.mutable_checkpoint();
    v1::Checkpoint* checkpoint = body->mutable_checkpoint();
    checkpoint->set_job(batch_.job);
    const bool published = body->kind() == v1::CheckpointEvent::PUBLISHED;
    const bool verified =
        body->kind() == v1::CheckpointEvent::VERIFIED || (published && checkpoint->verified());
    if ((!published && !verified) || CheckpointId(checkpoint->name()).empty()) {
      return transaction_.Append(std::move(event));
    }
    checkpoint->set_attempt(batch_.attempt);
    checkpoint->set_verified(verified);
    const std::string id = CheckpointId(checkpoint->name());
    ASSIGN_OR_RETURN(std::optional<CheckpointRow> row,
                     FindCheckpoint(transaction_.db(), JobId(batch_.job), id));
    // VERIFIED can have only the name; the row has the other fields.
    if (row && !published) {
      row->checkpoint.set_verified(true);
      row->checkpoint.clear_damage();
      *checkpoint = row->checkpoint;
    } else {
      if (row) KeepUserFields(row->checkpoint, checkpoint);
      RETURN_IF_ERROR(CompleteCheckpoint(transaction_, checkpoint, &record_));
    }
    // Workers before API revision 2 do not report the number.
    if (checkpoint->tokens() == 0) checkpoint->set_tokens(record_.job.progress().tokens());
    RETURN_IF_ERROR(StoreCheckpoint(transaction_.db(), *checkpoint));
    const int64_t step = checkpoint->step();
    const std::string name = checkpoint->name();
    RETURN_IF_ERROR(transaction_.Append(std::move(event)));
    if (published) {
      RETURN_IF_ERROR(TriggerEvaluations(transaction_, record_, name,
                                         {.kind = TriggerPoint::Kind::kPublished, .step = step}));
    }
    row_changed_ = true;
    const std::string best = record_.job.best_checkpoint();
    RETURN_IF_ERROR(UpdateResumePoint(transaction_, &record_).status());
    RETURN_IF_ERROR(TriggerIfBestChanged(transaction_, record_, best));
    if (!verified) return absl::OkStatus();
    newest_verified_step_ = std::max(newest_verified_step_, step);
    *record_.ledger.mutable_verified_since() = ToProto(transaction_.steady_now());
    return SetCondition({.type = "CheckpointStale", .active = false, .reason = "VERIFIED"});
  }

  absl::Status TakeAlert(const v1::Alert& alert) {
    ApplyAlert(alert, &record_.job);
    row_changed_ = true;
    if (alert.type() != "loss_spike") return absl::OkStatus();
    record_.ledger.set_loss_spike_step(alert.active() ? std::max<int64_t>(1, alert.step()) : 0);
    if (alert.active()) return absl::OkStatus();
    return SetCondition({.type = "Diverging", .active = false, .reason = "LOSS_SPIKE_CLEARED"});
  }

  // The worker waits for space, or no longer does. All other conditions are the daemon's.
  absl::Status TakeCondition(const v1::Job::Condition& condition) {
    if (condition.type() != "DiskLow") return absl::OkStatus();
    const bool begins = condition.active() && condition.reason() == kWaitingReason;
    if (!begins && !WaitsForCheckpointSpace(record_.job)) return absl::OkStatus();
    return SetCondition({.type = "DiskLow",
                         .active = condition.active(),
                         .replaces_reason = true,
                         .reason = condition.reason(),
                         .message = condition.message()});
  }

  absl::Status TakeNotice(const v1::Notice& notice) {
    if (notice.code() == "EVENTS_DROPPED") {
      return SetCondition({.type = "Degraded",
                           .active = true,
                           .reason = notice.code(),
                           .message = notice.message()});
    }
    if (notice.code() == "NON_FINITE") {
      return SetCondition({.type = "NonFiniteSeen",
                           .active = true,
                           .reason = notice.code(),
                           .message = notice.message()});
    }
    return absl::OkStatus();
  }

  Transaction& transaction_;
  const IngestBatch& batch_;
  JobRecord record_;
  v1::Attempt attempt_;
  bool row_changed_ = false;
  int64_t newest_verified_step_ = 0;
};

}  // namespace

absl::Status IngestEvents(Transaction& transaction, const IngestBatch& batch) {
  const std::string id = JobId(batch.job);
  ASSIGN_OR_RETURN(JobRecord record, LoadJob(transaction.db(), id));
  ASSIGN_OR_RETURN(v1::Attempt attempt, LoadAttempt(transaction.db(), id, batch.attempt));
  Intake intake(transaction, batch, std::move(record), std::move(attempt));
  RETURN_IF_ERROR(intake.LoadResumeStep());
  for (const v1::Event& event : batch.events) RETURN_IF_ERROR(intake.Take(event));
  RETURN_IF_ERROR(intake.Finish());
  return StoreSpoolPosition(transaction.db(), id, batch.attempt, batch.next);
}

}  // namespace trainerd::server
