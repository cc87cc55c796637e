// SPDX-License-Identifier: Apache-2.0
// The order in which queued jobs get a device. store/rows/job_rows reads the queue in this order.
// Pure.
#pragma once

#include "absl/time/time.h"
#include "server/store/rows/job_rows.h"

namespace trainerd::server {

// config.priority, raised by one for each `aging` that the job has waited, to at most 100. Without
// aging (0), config.priority.
int EffectivePriority(int priority, absl::Duration waited, absl::Duration aging);
int EffectivePriority(const QueueEntry& entry, absl::Time now, absl::Duration aging);
int EffectivePriority(const JobRecord& record, absl::Time now, absl::Duration aging);

// Whether `a` comes before `b`: by effective priority, then in the order of submission; a job that
// limits.max_attempt_time has sent back is behind those that waited then.
bool ComesFirst(const QueueEntry& a, const QueueEntry& b, absl::Time now, absl::Duration aging);

}  // namespace trainerd::server
