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

// Values of resources.device that `device` can serve: its own name, and "auto" if auto stands for
// this kind of device (cuda if a cuda device is usable, otherwise cpu).
std::vector<std::string> RequestsServedBy(const std::string& device,
                                          const std::vector<SchedulerDevice>& devices);

// `queue` may be in any order.
std::vector<Assignment> Schedule(std::vector<QueueEntry> queue,
                                 std::vector<SchedulerDevice> devices);

}  // namespace trainerd::server
