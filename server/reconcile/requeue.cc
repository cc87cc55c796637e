// SPDX-License-Identifier: Apache-2.0
#include "server/reconcile/requeue.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "proto/base/status_macros.h"
#include "proto/base/time.h"
#include "server/ledger/queue_wait.h"
#include "server/ledger/transition.h"

namespace trainerd::server {
namespace {

absl::Time WithStopGrace(const Transaction& t, const JobRecord& record) {
  return t.steady_now() + FromProto(record.job.config().limits().stop_grace());
}

absl::Status BeginRequeue(Transaction& t, internal::RequeueReason reason, absl::Time deadline,
                          const std::string& why, JobRecord* record) {
  internal::JobLedger& ledger = record->ledger;
  ledger.set_requeue_reason(reason);
  *ledger.mutable_end_requested() = ToProto(t.steady_now());
  *ledger.mutable_end_deadline() = ToProto(deadline);
  return ApplyTransition(t,
                         {.to = v1::Job::PAUSING,
                          .desired_state = v1::Job::DESIRED_RUN,
                          .reason = why,
                          .actor = "scheduler"},
                         record);
}

}  // namespace

absl::StatusOr<bool> Preempt(Transaction& transaction, const Preemption& preemption,
                             const SchedulingRules& rules) {
  ASSIGN_OR_RETURN(JobRecord victim, LoadJob(transaction.db(), preemption.victim));
  ASSIGN_OR_RETURN(const JobRecord other, LoadJob(transaction.db(), preemption.for_job));
  const bool waits = other.job.state() == v1::Job::QUEUED && MayStart(other.job.wait_reason());
  const int priority = other.job.config().priority();
  if (!waits || victim.job.config().priority() >= priority ||
      !IsPreemptible(victim, rules.preemption_min_time, transaction.steady_now()))
    return false;
  victim.ledger.set_preempted_by(other.job.name());
  RETURN_IF_ERROR(BeginRequeue(
      transaction, internal::REQUEUE_PREEMPTED, WithStopGrace(transaction, victim),
      absl::StrCat("preempted by ", other.job.name(), " of priority ", priority), &victim));
  return true;
}

absl::StatusOr<bool> EndTimeSlice(Transaction& transaction, const std::string& job_id) {
  ASSIGN_OR_RETURN(JobRecord record, LoadJob(transaction.db(), job_id));
  const v1::Job& job = record.job;
  const bool runs = job.state() == v1::Job::STARTING || job.state() == v1::Job::RUNNING;
  if (!runs || record.ledger.save_final_begun()) return false;
  const absl::Duration limit = FromProto(job.config().limits().max_attempt_time());
  RETURN_IF_ERROR(BeginRequeue(
      transaction, internal::REQUEUE_ATTEMPT_TIME, WithStopGrace(transaction, record),
      absl::StrCat("limits.max_attempt_time (", absl::FormatDuration(limit), ") is over"),
      &record));
  return true;
}

absl::StatusOr<bool> DrainJob(Transaction& transaction, const std::string& job_id,
                              const DrainOrder& order) {
  ASSIGN_OR_RETURN(JobRecord record, LoadJob(transaction.db(), job_id));
  const absl::Time deadline = DrainDeadline(record, order);
  switch (NextDrainStep(record, order, transaction.steady_now())) {
    case DrainStep::kNone:
      return false;
    case DrainStep::kRequeue:
      record.ledger.clear_preempted_by();
      // LimitDeadlines of the next daemon keeps it.
      if (order.deadline.has_value()) {
        *record.ledger.mutable_end_grace() =
            ToProto(std::max(deadline - transaction.steady_now(), absl::ZeroDuration()));
      }
      RETURN_IF_ERROR(BeginRequeue(transaction, internal::REQUEUE_DRAIN, deadline,
                                   "the daemon drains", &record));
      return true;
    case DrainStep::kShorten:
      *record.ledger.mutable_end_deadline() = ToProto(deadline);
      RETURN_IF_ERROR(StoreJob(transaction.db(), &record));
      return true;
  }
  return false;
}

}  // namespace trainerd::server
