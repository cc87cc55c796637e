// SPDX-License-Identifier: Apache-2.0
// Ends the attempt of a job as a pause does, so that the job returns to the queue: no client
// requested it, and the failure budget is not used (reconcile/attempt_end.h).
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "server/ledger/drain.h"
#include "server/reconcile/scheduler.h"
#include "server/store/writer.h"

namespace trainerd::server {

// The attempt of `preemption.victim` ends for the other job. False: it no longer can be preempted,
// or the other job no longer waits.
absl::StatusOr<bool> Preempt(Transaction& transaction, const Preemption& preemption,
                             const SchedulingRules& rules);
// limits.max_attempt_time of the job is over. False: its attempt ends already.
absl::StatusOr<bool> EndTimeSlice(Transaction& transaction, const std::string& job_id);
// Carries NextDrainStep out. False: there is nothing to do.
absl::StatusOr<bool> DrainJob(Transaction& transaction, const std::string& job_id,
                              const DrainOrder& order);

}  // namespace trainerd::server
