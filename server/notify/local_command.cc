// SPDX-License-Identifier: Apache-2.0
#include "server/notify/local_command.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#include <atomic>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "proto/base/process/process.h"
#include "proto/base/time.h"

namespace trainerd::server {
namespace {

constexpr absl::Duration kPoll = absl::Milliseconds(10);

// Process groups of the commands that run; 0 = free. More run at once without being killed with
// the process; the kernel then kills the command itself.
constexpr int kMaxGroups = 256;
std::atomic<pid_t> running_groups[kMaxGroups];

// Notes the group of one command while it runs.
class RunningGroup {
 public:
  explicit RunningGroup(pid_t group) {
    for (std::atomic<pid_t>& slot : running_groups) {
      pid_t free = 0;
      if (!slot.compare_exchange_strong(free, group)) continue;
      slot_ = &slot;
      return;
    }
  }
  ~RunningGroup() {
    if (slot_ != nullptr) slot_->store(0);
  }
  RunningGroup(const RunningGroup&) = delete;
  RunningGroup& operator=(const RunningGroup&) = delete;

 private:
  std::atomic<pid_t>* slot_ = nullptr;
};

}  // namespace

void KillLocalCommands() {
  for (const std::atomic<pid_t>& slot : running_groups) {
    if (const pid_t group = slot.load(); group > 0) ::kill(-group, SIGKILL);
  }
}

std::string RunLocalCommand(const std::vector<std::string>& argv, const std::string& input,
                            absl::Duration timeout) {
  const absl::StatusOr<Fd> file = MemoryFile(input);
  if (!file.ok()) return std::string(file.status().message());
  const absl::StatusOr<pid_t> pid = SpawnProcess({.argv = argv,
                                                  .fds = {file->get(), -1, -1},
                                                  .working_directory = "/",
                                                  .ends_with_caller = true});
  if (!pid.ok()) return std::string(pid.status().message());
  // Forgotten before the process is reaped below: its number can be given away then.
  std::optional<RunningGroup> group(*pid);
  const absl::Time deadline = SteadyNow() + timeout;
  int wait_status = 0;
  while (true) {
    siginfo_t ended = {};
    if (::waitid(P_PID, static_cast<id_t>(*pid), &ended, WEXITED | WNOHANG | WNOWAIT) == 0 &&
        ended.si_pid == *pid)
      break;
    if (SteadyNow() >= deadline) {
      ::kill(-*pid, SIGKILL);
      group.reset();
      while (::waitpid(*pid, &wait_status, 0) < 0 && errno == EINTR) {
      }
      return absl::StrCat("no exit within ", absl::FormatDuration(timeout), "; killed");
    }
    absl::SleepFor(kPoll);
  }
  group.reset();
  while (::waitpid(*pid, &wait_status, 0) < 0 && errno == EINTR) {
  }
  const ProcessExit exit = ProcessExit::FromWaitStatus(wait_status);
  return exit.code == 0 ? "" : exit.ToString();
}

}  // namespace trainerd::server
