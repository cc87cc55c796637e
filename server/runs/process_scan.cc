// SPDX-License-Identifier: Apache-2.0
// Reads /proc/PID/cmdline: arguments separated by zero bytes.
#include "server/runs/process_scan.h"

#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "proto/base/atomic_file.h"
#include "proto/base/directory.h"
#include "proto/contract/run_dir/process_id.h"

namespace trainerd::server {

std::vector<internal::ProcessId> FindProcessesOfAttempt(const std::string& attempt_dir) {
  std::vector<internal::ProcessId> found;
  std::string argument;
  for (const std::string& part : {std::string("--attempt-dir"), attempt_dir}) {
    argument += '\0';
    argument += part;
  }
  argument += '\0';
  const absl::StatusOr<std::vector<std::string>> names = ListDirectory("/proc");
  if (!names.ok()) return found;
  for (const std::string& name : *names) {
    pid_t pid = 0;
    if (!absl::SimpleAtoi(name, &pid) || pid == getpid()) continue;
    const std::string folder = "/proc/" + name;
    struct stat info;
    if (stat(folder.c_str(), &info) != 0 || info.st_uid != geteuid()) continue;
    // Identified before the command line is read, so a process that reuses the pid in between has
    // another identity and is not killed.
    const absl::StatusOr<internal::ProcessId> id = IdentifyProcess(pid);
    const absl::StatusOr<std::string> command = ReadFile(folder + "/cmdline");
    if (id.ok() && command.ok() && absl::StrContains(*command, argument) && IsAlive(*id)) {
      found.push_back(*id);
    }
  }
  return found;
}

}  // namespace trainerd::server
