// SPDX-License-Identifier: Apache-2.0
// /proc/self/cgroup has lines "ID:CONTROLLERS:/path"; the line of version 2 is "0::/path".
#include "server/shim/oom_watch.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "proto/base/atomic_file.h"

namespace trainerd::server {
namespace {

std::optional<int64_t> ReadKills(const std::string& path) {
  const absl::StatusOr<std::string> text = ReadFile(path);
  if (!text.ok()) return std::nullopt;
  for (absl::string_view line : absl::StrSplit(*text, '\n')) {
    int64_t kills = 0;
    if (absl::ConsumePrefix(&line, "oom_kill ") && absl::SimpleAtoi(line, &kills)) return kills;
  }
  return std::nullopt;
}

// Files that can count the kills in the caller's cgroup. With both versions mounted, the memory
// controller belongs to one of them.
std::vector<std::string> OwnCounters() {
  std::vector<std::string> paths;
  const absl::StatusOr<std::string> text = ReadFile("/proc/self/cgroup");
  if (!text.ok()) return paths;
  for (const absl::string_view line : absl::StrSplit(*text, '\n')) {
    const std::vector<std::string> fields = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (fields.size() != 3) continue;
    const std::vector<std::string> controllers = absl::StrSplit(fields[1], ',');
    if (fields[1].empty()) {
      paths.push_back("/sys/fs/cgroup" + fields[2] + "/memory.events");
    } else if (std::find(controllers.begin(), controllers.end(), "memory") != controllers.end()) {
      paths.push_back("/sys/fs/cgroup/memory" + fields[2] + "/memory.oom_control");
    }
  }
  return paths;
}

std::string CounterPath() {
  for (const std::string& path : OwnCounters()) {
    if (ReadKills(path).has_value()) return path;
  }
  return "/proc/vmstat";
}

}  // namespace

OomWatch::OomWatch() : OomWatch(CounterPath()) {}

OomWatch::OomWatch(std::string path) : path_(std::move(path)), kills_before_(ReadKills(path_)) {}

std::optional<int64_t> OomWatch::KillsSince() const {
  const std::optional<int64_t> kills = ReadKills(path_);
  if (!kills.has_value() || !kills_before_.has_value()) return std::nullopt;
  return *kills - *kills_before_;
}

}  // namespace trainerd::server
