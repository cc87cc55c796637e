// SPDX-License-Identifier: Apache-2.0
// What `trainctl doctor` reads from this machine. checks.h judges it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "trainerd/v1/trainer.pb.h"

namespace trainerd::client {

struct PathFacts {
  bool exists = false;
  bool is_socket = false;
  // Permission bits.
  uint32_t mode = 0;
  uint32_t owner = 0;
};
// Symbolic links are followed.
PathFacts ReadPath(const std::string& path);

struct DiskFacts {
  std::string path;
  // "the state directory", "jobs/a"
  std::string holds;
  int64_t free_bytes = 0;
  int64_t total_bytes = 0;
  // Of the user; -1: the file system has no limit.
  int64_t free_files = -1;
  // Why they cannot be read.
  std::string error;
};
// Of the file system that holds `path`, or its nearest existing parent.
DiskFacts ReadDisk(const std::string& path, const std::string& holds);

struct ProcessFacts {
  pid_t pid = 0;
  // Path of its program. The file was replaced or removed since it started.
  std::string program;
  bool program_replaced = false;
  // By the clock of this machine now and the time that it runs.
  absl::Time start_time;
  // Its soft limit; 0: cannot be read.
  int64_t max_open_files = 0;
};
// nullopt: there is no process of this number, or it is another program than trainerd.
std::optional<ProcessFacts> ReadDaemonProcess(pid_t pid);

// The process that the lock file names; 0: there is none.
pid_t ReadLockHolder(const std::string& state_dir);

struct ClockFacts {
  absl::Time now;
  // The kernel reports that nothing synchronizes the clock.
  bool unsynchronized = false;
};
ClockFacts ReadClock();

struct InotifyFacts {
  // 0: cannot be read.
  int64_t max_instances = 0;
  int64_t max_watches = 0;
};
InotifyFacts ReadInotify();

}  // namespace trainerd::client
