// SPDX-License-Identifier: Apache-2.0
// Assigns devices to queued jobs: by priority, then in the order of submission, one job per device.
// Pure.
#pragma once

#include <string>
#include <vector>

#include "server/runs/device_table.h"
#include "server/store/job_rows.h"

namespace trainerd::server {

struct Assignment {
  std::string job_id;
  std::vector<std::string> devices;  // in rank order; one today
};

// `queue` may be in any order.
std::vector<Assignment> Schedule(std::vector<QueueEntry> queue,
                                 std::vector<SchedulerDevice> devices);

}  // namespace trainerd::server
