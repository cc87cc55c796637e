// SPDX-License-Identifier: Apache-2.0
#include "server/ledger/drain.h"

#include <algorithm>

#include "proto/base/time.h"

namespace trainerd::server {

DrainOrder MergeDrains(const std::optional<DrainOrder>& in_force, const DrainOrder& next) {
  if (!in_force.has_value() || !in_force->pause_running) return next;
  DrainOrder merged = *in_force;
  if (!next.pause_running || !next.deadline.has_value()) return merged;
  merged.deadline = std::min(merged.deadline.value_or(*next.deadline), *next.deadline);
  return merged;
}

absl::Time DrainDeadline(const JobRecord& record, const DrainOrder& order) {
  return order.deadline.value_or(order.since +
                                 FromProto(record.job.config().limits().stop_grace()));
}

DrainStep NextDrainStep(const JobRecord& record, const DrainOrder& order, absl::Time now) {
  const internal::JobLedger& ledger = record.ledger;
  if (!order.pause_running || ledger.awaiting_evaluation()) return DrainStep::kNone;
  const absl::Time deadline = DrainDeadline(record, order);
  switch (record.job.state()) {
    case v1::Job::STARTING:
    case v1::Job::RUNNING:
      if (ledger.save_final_begun() && now < deadline) return DrainStep::kNone;
      return DrainStep::kRequeue;
    case v1::Job::PAUSING:
    case v1::Job::STOPPING:
      if (ledger.has_end_deadline() && FromProto(ledger.end_deadline()) <= deadline)
        return DrainStep::kNone;
      return DrainStep::kShorten;
    default:
      return DrainStep::kNone;
  }
}

internal::RequeueReason RequeueReasonOf(const internal::JobLedger& ledger) {
  const bool names_none =
      ledger.requeue_reason() == internal::REQUEUE_PREEMPTED && ledger.preempted_by().empty();
  return names_none ? internal::REQUEUE_DRAIN : ledger.requeue_reason();
}

}  // namespace trainerd::server
