// SPDX-License-Identifier: Apache-2.0
// Decides which queued jobs get which device, which running jobs give theirs up for them, and which
// jobs wait for a quota. One job per device. Pure.
#pragma once

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "server/ledger/queue_rules.h"
#include "server/runs/device_table.h"
#include "server/store/rows/job_rows.h"

namespace trainerd::server {

struct ScheduleInput {
  // In any order.
  std::vector<QueueEntry> queue;
  std::vector<SchedulerDevice> devices;
  std::vector<RunningJob> running = {};
  RunQuotas quotas = {};
  SchedulingRules rules = {};
  // Store::SteadyNow.
  absl::Time now = absl::InfinitePast();
};

struct Assignment {
  std::string job_id;
  std::vector<std::string> devices;  // in rank order; one today
};
struct Preemption {
  // Gives its device up for `for_job`.
  std::string victim;
  std::string for_job;
};
struct SchedulePlan {
  std::vector<Assignment> assignments;
  std::vector<Preemption> preemptions;
  // Jobs of the queue that a quota keeps waiting, in its order.
  std::vector<QueueEntry> over_quota;
  // The quotas once the assignments are carried out.
  QuotaUse reached;
};

// Free devices go to the first jobs of the queue that they can serve and whose quota allows it.
// With preemption, a job that gets none takes the device of a running job of lower config.priority:
// of the lowest, then of the one with the least unsaved time. It takes none if a device that can
// serve it is already being freed, or would go to a job that comes before it in the queue.
SchedulePlan Schedule(ScheduleInput input);

}  // namespace trainerd::server
