// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/run_dir/process_id.h"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "proto/base/atomic_file.h"
#include "proto/base/fd.h"
#include "proto/base/status_macros.h"

namespace trainerd {
namespace {

struct ProcessStat {
  char state = '?';
  uint64_t start_ticks = 0;
};

absl::Status NoSuchProcess(pid_t pid) {
  return absl::NotFoundError(absl::StrCat("process ", pid, " is not running"));
}

// Fields of /proc/PID/stat, proc(5). The command in field 2 may contain spaces and parentheses, so
// the fields are counted from the last ')'.
absl::StatusOr<ProcessStat> ReadStat(pid_t pid) {
  if (pid <= 0) return NoSuchProcess(pid);
  absl::StatusOr<std::string> text = ReadFile(absl::StrCat("/proc/", pid, "/stat"));
  if (absl::IsNotFound(text.status())) return NoSuchProcess(pid);
  RETURN_IF_ERROR(text.status());
  const size_t end = text->rfind(')');
  const absl::Status unreadable =
      absl::InternalError(absl::StrCat("/proc/", pid, "/stat has an unknown format"));
  if (end == std::string::npos || end + 2 > text->size()) return unreadable;
  // fields[0] is field 3.
  const std::vector<std::string> fields = absl::StrSplit(text->substr(end + 2), ' ');
  constexpr size_t kStartTime = 22 - 3;
  ProcessStat stat;
  if (fields.size() <= kStartTime || fields[0].size() != 1 ||
      !absl::SimpleAtoi(fields[kStartTime], &stat.start_ticks))
    return unreadable;
  stat.state = fields[0][0];
  return stat;
}

bool IsDead(char state) { return state == 'Z' || state == 'X' || state == 'x'; }

}  // namespace

std::string BootId() {
  absl::StatusOr<std::string> text = ReadFile("/proc/sys/kernel/random/boot_id");
  if (!text.ok()) return "";
  return std::string(absl::StripAsciiWhitespace(*text));
}

absl::StatusOr<internal::ProcessId> IdentifyProcess(pid_t pid) {
  ASSIGN_OR_RETURN(const ProcessStat stat, ReadStat(pid));
  internal::ProcessId id;
  id.set_pid(pid);
  id.set_start_ticks(stat.start_ticks);
  id.set_boot_id(BootId());
  return id;
}

bool IsAlive(const internal::ProcessId& id) {
  absl::StatusOr<ProcessStat> stat = ReadStat(id.pid());
  return stat.ok() && stat->start_ticks == id.start_ticks() && !IsDead(stat->state) &&
         id.boot_id() == BootId();
}

absl::Status KillProcess(const internal::ProcessId& id, int signal) {
  if (id.pid() <= 0) return NoSuchProcess(id.pid());
  const Fd pidfd(static_cast<int>(syscall(SYS_pidfd_open, id.pid(), 0)));
  const bool no_pidfd = !pidfd.is_open() && errno == ENOSYS;
  if (!pidfd.is_open() && !no_pidfd) {
    return errno == ESRCH ? NoSuchProcess(id.pid())
                          : ErrnoStatus(errno, absl::StrCat("pidfd_open of process ", id.pid()));
  }
  // Checked after the pidfd is open: then descriptor and identity name the same process.
  if (!IsAlive(id)) return NoSuchProcess(id.pid());
  const long result = no_pidfd ? kill(id.pid(), signal)
                               : syscall(SYS_pidfd_send_signal, pidfd.get(), signal, nullptr, 0);
  if (result == 0) return absl::OkStatus();
  return errno == ESRCH
             ? NoSuchProcess(id.pid())
             : ErrnoStatus(errno, absl::StrCat("send signal ", signal, " to process ", id.pid()));
}

}  // namespace trainerd
