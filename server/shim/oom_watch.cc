// SPDX-License-Identifier: Apache-2.0
// cgroup version 2: /proc/self/cgroup holds one line "0::/path".
#include "server/shim/oom_watch.h"

#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "proto/contract/atomic_file.h"

namespace trainerd::server {
namespace {

std::string OwnEventsPath() {
  const absl::StatusOr<std::string> text = ReadFile("/proc/self/cgroup");
  if (!text.ok()) return "";
  for (absl::string_view line : absl::StrSplit(*text, '\n')) {
    if (absl::ConsumePrefix(&line, "0::")) {
      return "/sys/fs/cgroup" + std::string(line) + "/memory.events";
    }
  }
  return "";
}

int64_t ReadKills(const std::string& path) {
  if (path.empty()) return 0;
  const absl::StatusOr<std::string> text = ReadFile(path);
  if (!text.ok()) return 0;
  for (absl::string_view line : absl::StrSplit(*text, '\n')) {
    int64_t kills = 0;
    if (absl::ConsumePrefix(&line, "oom_kill ") && absl::SimpleAtoi(line, &kills)) return kills;
  }
  return 0;
}

}  // namespace

OomWatch::OomWatch() : OomWatch(OwnEventsPath()) {}

OomWatch::OomWatch(std::string events_path)
    : events_path_(std::move(events_path)), kills_before_(ReadKills(events_path_)) {}

int64_t OomWatch::KillsSince() const { return ReadKills(events_path_) - kills_before_; }

}  // namespace trainerd::server
