// SPDX-License-Identifier: Apache-2.0
#include "server/reconcile/scheduler.h"

#include <algorithm>

namespace trainerd::server {
std::vector<Assignment> Schedule(std::vector<QueueEntry> queue,
                                 std::vector<SchedulerDevice> devices) {
  std::sort(queue.begin(), queue.end(), [](const QueueEntry& a, const QueueEntry& b) {
    return a.priority != b.priority ? a.priority > b.priority : a.number < b.number;
  });
  std::vector<Assignment> assignments;
  for (const QueueEntry& entry : queue) {
    for (SchedulerDevice& device : devices) {
      if (device.busy || !device.usable) continue;
      const std::vector<std::string> served = RequestsServedBy(device.name, devices);
      if (std::find(served.begin(), served.end(), entry.device) == served.end()) continue;
      device.busy = true;
      assignments.push_back({.job_id = entry.id, .devices = {device.name}});
      break;
    }
  }
  return assignments;
}

}  // namespace trainerd::server
