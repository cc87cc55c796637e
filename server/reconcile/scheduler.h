// SPDX-License-Identifier: Apache-2.0
// Which queued job gets which device: first come first served within one priority, one job a
// device. Pure.
#pragma once

#include <string>
#include <vector>

#include "server/runs/device_table.h"
#include "server/store/job_rows.h"

namespace trainerd::server {

struct Assignment {
  std::string job_id;
  std::string device;
};

// Names that a job may ask for so that it can run on `device`: the device itself, and "auto" where
// auto means this kind of device: cuda if any cuda device is usable, else cpu.
std::vector<std::string> RequestsServedBy(const std::string& device,
                                          const std::vector<SchedulerDevice>& devices);

// `queue` may be in any order.
std::vector<Assignment> Schedule(std::vector<QueueEntry> queue,
                                 std::vector<SchedulerDevice> devices);

}  // namespace trainerd::server
