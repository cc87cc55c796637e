// SPDX-License-Identifier: Apache-2.0
// Whether the kernel's out-of-memory killer acted since the watch began. The kernel counts its
// kills in lines "oom_kill N": for each cgroup in memory.events (version 2) or memory.oom_control
// (version 1), for the whole machine in /proc/vmstat (since Linux 4.13).
// Source: the kernel's admin-guide/cgroup-v2.rst, admin-guide/cgroup-v1/memory.rst.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace trainerd::server {

class OomWatch {
 public:
  // Of the caller's own cgroup; where that has no count, of the whole machine.
  OomWatch();
  // Of a file with an "oom_kill" line.
  explicit OomWatch(std::string path);
  // Processes that were killed since construction; nothing when it cannot be told.
  std::optional<int64_t> KillsSince() const;

 private:
  const std::string path_;
  const std::optional<int64_t> kills_before_;
};

}  // namespace trainerd::server
