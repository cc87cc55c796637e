// SPDX-License-Identifier: Apache-2.0
#include "server/notify/local_command.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "proto/base/process/process.h"
#include "proto/base/time.h"

namespace trainerd::server {
namespace {

constexpr absl::Duration kPoll = absl::Milliseconds(10);

}  // namespace

std::string RunLocalCommand(const std::vector<std::string>& argv, const std::string& input,
                            absl::Duration timeout) {
  const absl::StatusOr<Fd> file = MemoryFile(input);
  if (!file.ok()) return std::string(file.status().message());
  const absl::StatusOr<pid_t> pid = SpawnProcess({.argv = argv,
                                                  .fds = {file->get(), -1, -1},
                                                  .working_directory = "/",
                                                  .ends_with_caller = true});
  if (!pid.ok()) return std::string(pid.status().message());
  const absl::Time deadline = SteadyNow() + timeout;
  int wait_status = 0;
  while (true) {
    const pid_t reaped = ::waitpid(*pid, &wait_status, WNOHANG);
    if (reaped == *pid) break;
    if (SteadyNow() >= deadline) {
      ::kill(-*pid, SIGKILL);
      while (::waitpid(*pid, &wait_status, 0) < 0 && errno == EINTR) {
      }
      return absl::StrCat("no exit within ", absl::FormatDuration(timeout), "; killed");
    }
    absl::SleepFor(kPoll);
  }
  const ProcessExit exit = ProcessExit::FromWaitStatus(wait_status);
  return exit.code == 0 ? "" : exit.ToString();
}

}  // namespace trainerd::server
