// SPDX-License-Identifier: Apache-2.0
#include "server/ledger/transition.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "proto/base/status_macros.h"
#include "proto/base/time.h"
#include "proto/contract/job/alerts.h"
#include "proto/contract/job/job_state.h"
#include "server/ledger/checkpoints/checkpoint_request.h"
#include "server/ledger/dependencies.h"
#include "server/ledger/queue_wait.h"
#include "server/ledger/usage.h"
#include "server/store/rows/usage_rows.h"

namespace trainerd::server {
namespace {

// A job that may have a device can have another wait first.
v1::Job::WaitReason WaitAfter(const Transition& transition, const JobRecord& record,
                              absl::Time now) {
  if (transition.to != v1::Job::QUEUED || !WaitsForDevice(transition.wait_reason))
    return transition.wait_reason;
  const v1::Job::WaitReason next = NextWait(record, now);
  return WaitsForDevice(next) ? transition.wait_reason : next;
}

void SetTimes(const Transition& transition, const Transaction& transaction, JobRecord* record) {
  const absl::Time now = transaction.now(), steady_now = transaction.steady_now();
  v1::Job& job = record->job;
  internal::JobLedger& ledger = record->ledger;
  if (transition.to == v1::Job::RUNNING) {
    if (!job.has_start_time()) *job.mutable_start_time() = ToProto(now);
    if (!ledger.has_running_since()) {
      *ledger.mutable_running_since() = ToProto(steady_now);
    }
  }
  if (!IsActive(transition.to) && ledger.has_running_since()) {
    ledger.set_run_seconds(ledger.run_seconds() +
                           absl::ToDoubleSeconds(steady_now - FromProto(ledger.running_since())));
    ledger.clear_running_since();
  }
  if (IsTerminal(transition.to)) *job.mutable_end_time() = ToProto(now);
  if (transition.wait_reason != v1::Job::BACKOFF) {
    job.clear_not_before();
    ledger.clear_retry_time();
  }
  if (transition.wait_reason == v1::Job::NOT_BEFORE)
    *job.mutable_not_before() = job.config().not_before();
  if (!IsActive(transition.to)) {
    job.clear_devices();
    ledger.clear_end_deadline();
    ledger.clear_end_requested();
    ledger.clear_end_grace();
  }
}

// The reason of a job's end also names the alerts that make its result doubtful.
std::string WithAlerts(const std::string& reason, const v1::Job& job) {
  const std::string alerts = ActiveCriticalAlerts(job);
  if (alerts.empty()) return reason;
  return absl::StrCat(reason, "; CRITICAL alert at the end: ", alerts);
}

}  // namespace

absl::Status ApplyTransition(Transaction& transaction, Transition transition, JobRecord* record) {
  v1::Job& job = record->job;
  transition.wait_reason = WaitAfter(transition, *record, transaction.now());
  if (!IsTransitionAllowed(job.state(), transition.to)) {
    return absl::InternalError(
        absl::StrCat(job.name(), ": no transition from ", StateName(job.state()), " to ",
                     StateName(transition.to), " (", transition.reason, ")"));
  }
  v1::Event event;
  event.set_job(job.name());
  event.set_attempt(job.attempt());
  v1::StateChanged* change = event.mutable_state_changed();
  change->set_from_state(job.state());
  change->set_to_state(transition.to);
  change->set_reason(IsTerminal(transition.to) ? WithAlerts(transition.reason, job)
                                               : transition.reason);
  change->set_actor(transition.actor);
  change->set_desired_state(transition.desired_state);
  change->set_wait_reason(transition.wait_reason);
  change->set_attempt(job.attempt());

  int flags = 0;
  if (job.state() == v1::Job::STATE_UNSPECIFIED) flags |= kJobCreated;
  if (IsTerminal(transition.to)) flags |= kJobEnded;

  // The order of submission is that of the first events.
  if (job.state() == v1::Job::STATE_UNSPECIFIED)
    record->ledger.set_queue_order(transaction.last_seq() + 1);
  SetTimes(transition, transaction, record);
  CountWait(transition.to, transition.wait_reason, transaction.steady_now(), record);
  // While an attempt is open, its usage is kept when it ends.
  if (!IsActive(transition.to))
    RETURN_IF_ERROR(KeepUsage(transaction, UsageDay(transaction.now()), record));
  if (IsTerminal(transition.to) || transition.desired_state >= v1::Job::DESIRED_DISCARD)
    DropCheckpointRequest(record);
  if (IsTerminal(transition.to)) RETURN_IF_ERROR(DropDependencies(transaction, record));
  job.set_state(transition.to);
  job.set_desired_state(transition.desired_state);
  job.set_wait_reason(transition.wait_reason);
  // The error of an earlier attempt is cleared once the next one trains; the attempt keeps it.
  if (transition.to == v1::Job::RUNNING || transition.to == v1::Job::SUCCEEDED) job.clear_error();
  if (transition.error.has_value()) *job.mutable_error() = *transition.error;
  if (job.has_error()) *change->mutable_error() = job.error();
  RETURN_IF_ERROR(StoreJob(transaction.db(), record));
  return transaction.Append(std::move(event), flags);
}

absl::StatusOr<bool> ApplyCondition(Transaction& transaction, const ConditionUpdate& update,
                                    JobRecord* record) {
  auto* conditions = record->job.mutable_conditions();
  auto it = std::find_if(conditions->begin(), conditions->end(),
                         [&](const auto& c) { return c.type() == update.type; });
  const bool is_new = it == conditions->end();
  const bool has_other_reason =
      !is_new && update.active && update.replaces_reason && it->reason() != update.reason;
  if (is_new ? !update.active : it->active() == update.active && !has_other_reason) return false;
  if (is_new) {
    conditions->Add();
    it = conditions->end() - 1;
    it->set_type(update.type);
  }
  it->set_active(update.active);
  it->set_reason(update.reason);
  it->set_message(update.message);
  *it->mutable_since() = ToProto(transaction.now());
  v1::Event event;
  event.set_job(record->job.name());
  event.set_attempt(record->job.attempt());
  *event.mutable_condition_changed()->mutable_condition() = *it;
  RETURN_IF_ERROR(transaction.Append(std::move(event)));
  return true;
}

ConditionUpdate LacksSpace(const std::string& message) {
  return {.type = "DiskLow", .active = true, .reason = "FREE_SPACE", .message = message};
}

bool WaitsForCheckpointSpace(const v1::Job& job) {
  for (const v1::Job::Condition& condition : job.conditions()) {
    if (condition.type() == "DiskLow")
      return condition.active() && condition.reason() == kWaitingReason;
  }
  return false;
}

bool IsConditionActive(const v1::Job& job, const std::string& type) {
  for (const v1::Job::Condition& condition : job.conditions()) {
    if (condition.type() == type) return condition.active();
  }
  return false;
}

}  // namespace trainerd::server
