// SPDX-License-Identifier: Apache-2.0
// The checks of `trainctl doctor`: facts → findings. Pure.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "client/doctor/facts.h"
#include "trainerd/v1/trainer.pb.h"

namespace trainerd::client {

struct Finding {
  // A note needs no action. A problem can stop jobs or commands, or lets others in.
  enum class Level { kOk, kNote, kProblem };
  // "disk", "clock"
  std::string check;
  Level level = Level::kOk;
  std::string message;
  // What to do; empty with kOk.
  std::string action = "";
};
const char* LevelName(Finding::Level level);

struct StateDirFacts {
  std::string path;
  PathFacts folder;
  PathFacts socket;
  PathFacts token;
  PathFacts database;
  // The lock file names a process, which is a daemon that runs.
  pid_t lock_holder = 0;
  bool holder_runs = false;
  // A daemon answered the doctor.
  bool daemon_answers = false;
  // Effective user of the doctor, and of the daemon if it runs.
  uint32_t user = 0;
};
std::vector<Finding> CheckStateDir(const StateDirFacts& facts);

// `client_version` is that of this trainctl. The daemon's versions, drain and program.
std::vector<Finding> CheckDaemon(const v1::ServerInfo& info, const std::string& client_version,
                                 const std::optional<ProcessFacts>& process);

Finding CheckDisk(const DiskFacts& facts);
std::vector<Finding> CheckDevices(const std::vector<v1::Device>& devices);

// `daemon` and `daemon_start` (ServerInfo.start_time): of a daemon on this machine.
std::vector<Finding> CheckClock(const ClockFacts& clock, const std::optional<ProcessFacts>& daemon,
                                absl::Time daemon_start);

std::vector<Finding> CheckLimits(const InotifyFacts& inotify,
                                 const std::optional<ProcessFacts>& daemon);

}  // namespace trainerd::client
