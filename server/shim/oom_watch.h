// SPDX-License-Identifier: Apache-2.0
// Whether the kernel's out-of-memory killer acted in this process's cgroup since the watch began
// (memory.events, oom_kill).
#pragma once

#include <cstdint>
#include <string>

namespace trainerd::server {

class OomWatch {
 public:
  // Of the caller's own cgroup (version 2). Where there is none, KillsSince is 0.
  OomWatch();
  // Of a memory.events file.
  explicit OomWatch(std::string events_path);
  // Processes of the cgroup that were killed since construction.
  int64_t KillsSince() const;

 private:
  const std::string events_path_;
  const int64_t kills_before_;
};

}  // namespace trainerd::server
