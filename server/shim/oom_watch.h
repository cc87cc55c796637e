// SPDX-License-Identifier: Apache-2.0
// Counts the kills by the kernel's OOM killer since the watch began. The kernel counts them in
// lines "oom_kill N": per cgroup in memory.events (version 2) or memory.oom_control (version 1),
// and for the whole machine in /proc/vmstat (since Linux 4.13).
// Source: the kernel's admin-guide/cgroup-v2.rst, admin-guide/cgroup-v1/memory.rst.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace trainerd::server {

class OomWatch {
 public:
  // Watches the caller's cgroup, or the whole machine if the cgroup has no count.
  OomWatch();
  // Watches a file with an "oom_kill" line.
  explicit OomWatch(std::string path);
  // Processes killed since construction; nullopt when the count is not available.
  std::optional<int64_t> KillsSince() const;

 private:
  const std::string path_;
  const std::optional<int64_t> kills_before_;
};

}  // namespace trainerd::server
