// SPDX-License-Identifier: Apache-2.0
#include "client/doctor/checks.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "proto/base/format.h"
#include "proto/base/free_space.h"
#include "proto/contract/job/revision.h"
#include "proto/contract/job/state_dir.h"

namespace trainerd::client {
namespace {

using Level = Finding::Level;

// Less than this part of the disk is worth a note.
constexpr double kFewFree = 0.1;
// Of a socket on which `roles` knows the users.
constexpr uint32_t kSharedSocket = 0666;
constexpr int64_t kLeastFreeFiles = 10'000;
// Descriptors of a daemon with some clients and jobs.
constexpr int64_t kLeastOpenFiles = 1'024;
// The daemon needs one instance, and a watch for each running job.
constexpr int64_t kLeastInotifyInstances = 8;
constexpr int64_t kLeastInotifyWatches = 1'024;
// A start takes some time; a larger difference is a change of the clock.
constexpr absl::Duration kClockTolerance = absl::Seconds(10);
// No version of trainerd is older.
const absl::Time kEarliest = absl::FromUnixSeconds(1'764'000'000);

std::string Mode(uint32_t mode) { return absl::StrFormat("%04o", mode); }

// `path` may be used by its owner only.
void CheckPrivate(const std::string& path, const PathFacts& facts, uint32_t mode,
                  std::vector<Finding>* out) {
  if (!facts.exists) return;
  if ((facts.mode & 077) == 0) return;
  out->push_back(
      {.check = "permissions",
       .level = Level::kProblem,
       .message = absl::StrCat(path, " has mode ", Mode(facts.mode), ": other users can reach it"),
       .action = absl::StrCat("chmod ", Mode(mode), " ", path)});
}

void CheckLock(const StateDirFacts& facts, std::vector<Finding>* out) {
  const std::string socket = absl::StrCat(facts.path, "/", kSocketName);
  if (facts.daemon_answers) return;
  if (facts.holder_runs) {
    out->push_back(
        {.check = "lock",
         .level = Level::kProblem,
         .message = absl::StrCat("a daemon (pid ", facts.lock_holder, ") holds ", facts.path,
                                 " and does not answer"),
         .action = "read its log; if it has just started, try again; otherwise stop it with kill "
                   "and start it again: running attempts continue"});
    return;
  }
  if (facts.lock_holder > 0) {
    out->push_back({.check = "lock",
                    .level = Level::kNote,
                    .message = absl::StrCat(facts.path, "/trainerd.lock names pid ",
                                            facts.lock_holder, ", which is no daemon that runs"),
                    .action = "nothing: the lock ended with that process, and the next start "
                              "replaces the number"});
  }
  if (facts.socket.exists) {
    out->push_back({.check = "socket",
                    .level = Level::kNote,
                    .message = absl::StrCat("no process listens at ", socket),
                    .action = "nothing: the next start of the daemon replaces the socket"});
  }
}

}  // namespace

const char* LevelName(Finding::Level level) {
  switch (level) {
    case Level::kOk:
      return "ok";
    case Level::kNote:
      return "note";
    case Level::kProblem:
      return "problem";
  }
  return "?";
}

std::vector<Finding> CheckStateDir(const StateDirFacts& facts) {
  std::vector<Finding> out;
  if (!facts.folder.exists) {
    out.push_back({.check = "permissions",
                   .level = Level::kNote,
                   .message = absl::StrCat("the state directory ", facts.path, " does not exist"),
                   .action = "nothing: the first start of the daemon creates it"});
    return out;
  }
  if (facts.folder.owner != facts.user) {
    out.push_back({.check = "permissions",
                   .level = Level::kProblem,
                   .message = absl::StrCat("the state directory ", facts.path, " belongs to uid ",
                                           facts.folder.owner, ", and the daemon or you are uid ",
                                           facts.user),
                   .action = "run trainerd and trainctl as its owner, or use another directory "
                             "with --state-dir"});
  }
  CheckPrivate(facts.path, facts.folder, 0700, &out);
  CheckPrivate(absl::StrCat(facts.path, "/", kTokenName), facts.token, 0600, &out);
  CheckPrivate(facts.path + "/trainerd.db", facts.database, 0600, &out);
  const std::string socket = absl::StrCat(facts.path, "/", kSocketName);
  if (facts.socket.exists && facts.socket.mode == kSharedSocket) {
    out.push_back({.check = "permissions",
                   .level = Level::kNote,
                   .message = absl::StrCat("every user who reaches ", socket, " can connect"),
                   .action = "nothing if roles of trainerd.yaml names users (unix_user); otherwise "
                             "restart the daemon, which sets mode 0600"});
  } else {
    CheckPrivate(socket, facts.socket, 0600, &out);
  }
  if (facts.socket.exists && !facts.socket.is_socket) {
    out.push_back({.check = "socket",
                   .level = Level::kProblem,
                   .message = absl::StrCat(socket, " is not a socket"),
                   .action = "move the file away: the daemon listens at this path"});
  }
  CheckLock(facts, &out);
  if (out.empty()) {
    out.push_back(
        {.check = "permissions", .message = absl::StrCat(facts.path, " is for its owner only")});
  }
  return out;
}

std::vector<Finding> CheckDaemon(const v1::ServerInfo& info, const std::string& client_version,
                                 const std::optional<ProcessFacts>& process) {
  std::vector<Finding> out;
  const std::string both =
      absl::StrCat("trainerd ", info.version(), " (API revision ", info.api_revision(),
                   "), trainctl ", client_version, " (API revision ", kApiRevision, ")");
  if (info.api_revision() < kApiRevision) {
    out.push_back({.check = "versions",
                   .level = Level::kProblem,
                   .message = absl::StrCat("the daemon is older than this trainctl: ", both),
                   .action = "install the same version of both and restart the daemon, or use the "
                             "trainctl of its version"});
  } else if (info.version() != client_version) {
    out.push_back(
        {.check = "versions",
         .level = Level::kNote,
         .message = both,
         .action = "install the same version of both to use everything of the newer one"});
  } else {
    out.push_back({.check = "versions", .message = both});
  }
  if (process.has_value() && process->program_replaced) {
    out.push_back({.check = "versions",
                   .level = Level::kNote,
                   .message = absl::StrCat("the daemon (pid ", process->pid, ") still runs a ",
                                           process->program, " that was replaced since it started"),
                   .action = "restart the daemon: running attempts continue under their shims"});
  }
  if (info.draining()) {
    out.push_back(
        {.check = "daemon",
         .level = Level::kNote,
         .message = absl::StrCat("the daemon drains: no job starts; ",
                                 Counted(info.active_attempts(), "attempt"), " not ended"),
         .action = "`trainctl undrain` lets jobs start"});
  }
  for (const v1::Job::Condition& condition : info.conditions()) {
    if (!condition.active()) continue;
    out.push_back({.check = "daemon",
                   .level = Level::kProblem,
                   .message = absl::StrCat(condition.type(), ": ", condition.message()),
                   .action = "remove the cause that the message names"});
  }
  return out;
}

Finding CheckDisk(const DiskFacts& facts) {
  Finding finding{.check = "disk"};
  const std::string where = absl::StrCat(facts.path, " (", facts.holds, ")");
  if (!facts.error.empty()) {
    finding.level = Level::kProblem;
    finding.message = absl::StrCat("cannot read the free space of ", where, ": ", facts.error);
    finding.action = "check that the file system is mounted and that you may search the folder";
    return finding;
  }
  finding.message = absl::StrCat(FormatBytes(facts.free_bytes), " of ",
                                 FormatBytes(facts.total_bytes), " are free at ", where);
  const char* advice =
      "`trainctl gc --dry-run` lists what retention would remove; `trainctl rm JOB` deletes jobs "
      "that have ended";
  if (facts.free_files >= 0 && facts.free_files < kLeastFreeFiles) {
    finding.level = Level::kProblem;
    absl::StrAppend(&finding.message, ", and only ", facts.free_files, " more files fit");
    finding.action = advice;
  } else if (facts.free_bytes < kLeastFreeBytes) {
    finding.level = Level::kProblem;
    finding.action = advice;
  } else if (static_cast<double>(facts.free_bytes) <
             kFewFree * static_cast<double>(facts.total_bytes)) {
    finding.level = Level::kNote;
    finding.action = advice;
  }
  return finding;
}

std::vector<Finding> CheckDevices(const std::vector<v1::Device>& devices) {
  std::vector<Finding> out;
  for (const v1::Device& device : devices) {
    Finding finding{.check = "devices",
                    .message = absl::StrCat(device.name(), " (", device.model(), ")")};
    if (device.unavailable().empty()) {
      absl::StrAppend(&finding.message, device.job().empty() ? " is free" : " is in use by ",
                      device.job());
    } else {
      finding.level = Level::kProblem;
      absl::StrAppend(&finding.message, " cannot be used: ", device.unavailable());
      finding.action =
          "remove the cause; the daemon checks the device again within a minute, and jobs with "
          "`resources.device: auto` use the others";
    }
    out.push_back(std::move(finding));
  }
  if (!out.empty()) return out;
  return {{.check = "devices",
           .level = Level::kProblem,
           .message = "no device is known",
           .action = "run `trainerd-worker devices`, which prints them or the reason"}};
}

std::vector<Finding> CheckClock(const ClockFacts& clock, const std::optional<ProcessFacts>& daemon,
                                absl::Time daemon_start) {
  std::vector<Finding> out;
  if (clock.now < kEarliest) {
    out.push_back({.check = "clock",
                   .level = Level::kProblem,
                   .message = absl::StrCat("the clock shows ", absl::FormatTime(clock.now)),
                   .action = "set the clock, for example with timedatectl or chronyd"});
  }
  const bool known = daemon.has_value() && daemon->start_time != absl::InfinitePast() &&
                     daemon_start != absl::UnixEpoch();
  const absl::Duration shift = known ? daemon->start_time - daemon_start : absl::ZeroDuration();
  if (absl::AbsDuration(shift) > kClockTolerance) {
    out.push_back(
        {.check = "clock",
         .level = Level::kNote,
         .message =
             absl::StrCat("the clock was set ", shift > absl::ZeroDuration() ? "forward" : "back",
                          " by about ", FormatSpan(absl::AbsDuration(shift)),
                          " since the daemon started, or differs from its"),
         .action = "nothing for running jobs: deadlines and retries follow the monotonic clock; "
                   "check not_before of queued jobs, which follows this clock"});
  }
  if (clock.unsynchronized) {
    out.push_back({.check = "clock",
                   .level = Level::kNote,
                   .message = "the kernel reports that nothing synchronizes the clock",
                   .action = "run chronyd or systemd-timesyncd if times of several machines are "
                             "compared"});
  }
  if (out.empty())
    out.push_back({.check = "clock",
                   .message = absl::StrCat("the clock shows ", absl::FormatTime(clock.now))});
  return out;
}

std::vector<Finding> CheckLimits(const InotifyFacts& inotify,
                                 const std::optional<ProcessFacts>& daemon) {
  std::vector<Finding> out;
  const auto check = [&](const std::string& name, int64_t value, int64_t least,
                         const std::string& action) {
    if (value == 0 || value >= least) return;
    out.push_back({.check = "limits",
                   .level = Level::kProblem,
                   .message = absl::StrCat(name, " is ", value, ", less than ", least),
                   .action = action});
  };
  check("fs.inotify.max_user_instances", inotify.max_instances, kLeastInotifyInstances,
        "sysctl fs.inotify.max_user_instances=128");
  check("fs.inotify.max_user_watches", inotify.max_watches, kLeastInotifyWatches,
        "sysctl fs.inotify.max_user_watches=65536");
  if (daemon.has_value()) {
    check("the limit on open files of the daemon", daemon->max_open_files, kLeastOpenFiles,
          "raise the hard limit (LimitNOFILE= of its unit, or ulimit -Hn) and restart the daemon");
  }
  if (out.empty())
    out.push_back({.check = "limits", .message = "open files and inotify watches suffice"});
  return out;
}

}  // namespace trainerd::client
