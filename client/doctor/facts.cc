// SPDX-License-Identifier: Apache-2.0
#include "client/doctor/facts.h"

#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "proto/base/atomic_file.h"
#include "proto/base/directory.h"

namespace trainerd::client {
namespace {

constexpr char kDeleted[] = " (deleted)";

int64_t ReadNumber(const std::string& path) {
  const absl::StatusOr<std::string> text = ReadStream(path);
  int64_t number = 0;
  return text.ok() && absl::SimpleAtoi(absl::StripAsciiWhitespace(*text), &number) ? number : 0;
}

// Field 22 of /proc/PID/stat: clock ticks from the start of the machine to that of the process.
std::optional<absl::Duration> StartAfterBoot(const std::string& proc) {
  const absl::StatusOr<std::string> stat = ReadStream(proc + "/stat");
  if (!stat.ok()) return std::nullopt;
  const size_t name_end = stat->rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  const std::vector<std::string> fields =
      absl::StrSplit(stat->substr(name_end + 1), ' ', absl::SkipEmpty());
  constexpr size_t kStartTime = 19;
  int64_t ticks = 0;
  if (fields.size() <= kStartTime || !absl::SimpleAtoi(fields[kStartTime], &ticks))
    return std::nullopt;
  return absl::Seconds(static_cast<double>(ticks) / static_cast<double>(::sysconf(_SC_CLK_TCK)));
}

// "Max open files            1024                 524288               files"
int64_t MaxOpenFiles(const std::string& proc) {
  const absl::StatusOr<std::string> limits = ReadStream(proc + "/limits");
  if (!limits.ok()) return 0;
  for (const absl::string_view line : absl::StrSplit(*limits, '\n')) {
    absl::string_view values = line;
    if (!absl::ConsumePrefix(&values, "Max open files")) continue;
    const std::vector<std::string> words = absl::StrSplit(values, ' ', absl::SkipEmpty());
    int64_t soft = 0;
    if (words.empty()) return 0;
    if (words[0] == "unlimited") return INT64_MAX;
    return absl::SimpleAtoi(words[0], &soft) ? soft : 0;
  }
  return 0;
}

}  // namespace

PathFacts ReadPath(const std::string& path) {
  struct stat info;
  if (::stat(path.c_str(), &info) != 0) return {};
  return {.exists = true,
          .is_socket = S_ISSOCK(info.st_mode),
          .mode = info.st_mode & 07777,
          .owner = info.st_uid};
}

DiskFacts ReadDisk(const std::string& path, const std::string& holds) {
  DiskFacts facts{.path = path, .holds = holds};
  std::string there = path;
  while (!PathExists(there) && there != "/" && there != ".") there = ParentOf(there);
  struct statvfs info;
  if (::statvfs(there.c_str(), &info) != 0) {
    facts.error = std::strerror(errno);
    return facts;
  }
  facts.free_bytes = static_cast<int64_t>(info.f_bavail * info.f_frsize);
  facts.total_bytes = static_cast<int64_t>(info.f_blocks * info.f_frsize);
  if (info.f_files > 0) facts.free_files = static_cast<int64_t>(info.f_favail);
  return facts;
}

std::optional<ProcessFacts> ReadDaemonProcess(pid_t pid) {
  if (pid <= 0) return std::nullopt;
  const std::string proc = absl::StrCat("/proc/", pid);
  const absl::StatusOr<std::string> name = ReadStream(proc + "/comm");
  if (!name.ok() || absl::StripAsciiWhitespace(*name) != "trainerd") return std::nullopt;
  ProcessFacts facts{.pid = pid};
  std::error_code error;
  facts.program = std::filesystem::read_symlink(proc + "/exe", error).string();
  facts.program_replaced = absl::EndsWith(facts.program, kDeleted);
  facts.program = std::string(absl::StripSuffix(facts.program, kDeleted));
  facts.max_open_files = MaxOpenFiles(proc);
  facts.start_time = absl::InfinitePast();
  timespec since_boot;
  if (const auto started = StartAfterBoot(proc);
      started && ::clock_gettime(CLOCK_BOOTTIME, &since_boot) == 0)
    facts.start_time = absl::Now() - (absl::DurationFromTimespec(since_boot) - *started);
  return facts;
}

pid_t ReadLockHolder(const std::string& state_dir) {
  const absl::StatusOr<std::string> text = ReadFile(state_dir + "/trainerd.lock");
  if (!text.ok()) return 0;
  const std::vector<std::string> words =
      absl::StrSplit(*text, absl::ByAnyChar(" \n"), absl::SkipEmpty());
  pid_t pid = 0;
  return !words.empty() && absl::SimpleAtoi(words[0], &pid) ? pid : 0;
}

ClockFacts ReadClock() {
  timex state{};
  const int result = ::adjtimex(&state);
  return {.now = absl::Now(), .unsynchronized = result == TIME_ERROR};
}

InotifyFacts ReadInotify() {
  return {.max_instances = ReadNumber("/proc/sys/fs/inotify/max_user_instances"),
          .max_watches = ReadNumber("/proc/sys/fs/inotify/max_user_watches")};
}

}  // namespace trainerd::client
