// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/job/names.h"

#include <algorithm>

#include "absl/strings/ascii.h"

namespace trainerd {
namespace {

constexpr std::string_view kJobs = "jobs/";
constexpr std::string_view kCheckpoints = "/checkpoints/";
constexpr size_t kMaxJobIdBytes = 40;
// Of a folder's name.
constexpr size_t kMaxCheckpointIdBytes = 255;

bool IsJobIdByte(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; }

bool IsCheckpointId(std::string_view id) {
  return !id.empty() && id.size() <= kMaxCheckpointIdBytes && id.front() != '.' &&
         std::all_of(id.begin(), id.end(), [](unsigned char c) {
           return absl::ascii_isalnum(c) || c == '.' || c == '_' || c == '-';
         });
}

}  // namespace

bool IsJobId(std::string_view id) {
  return !id.empty() && id.size() <= kMaxJobIdBytes && id.front() != '-' &&
         std::all_of(id.begin(), id.end(), IsJobIdByte);
}

std::optional<std::string> ParseJobName(std::string_view name) {
  if (name.starts_with(kJobs)) name.remove_prefix(kJobs.size());
  if (!IsJobId(name)) return std::nullopt;
  return std::string(name);
}

std::optional<ResourceName> ParseJobOrCheckpointName(std::string_view name) {
  ResourceName parts;
  if (const size_t at = name.find(kCheckpoints); at != name.npos) {
    const std::string_view checkpoint = name.substr(at + kCheckpoints.size());
    if (!name.starts_with(kJobs) || !IsCheckpointId(checkpoint)) return std::nullopt;
    parts.checkpoint_id = std::string(checkpoint);
    name = name.substr(0, at);
  }
  std::optional<std::string> job = ParseJobName(name);
  if (!job.has_value()) return std::nullopt;
  parts.job_id = *std::move(job);
  return parts;
}

std::string JobId(std::string_view name) {
  if (name.starts_with(kJobs)) name.remove_prefix(kJobs.size());
  return std::string(name.substr(0, name.find('/')));
}

std::string JobName(std::string_view id) { return std::string(kJobs).append(id); }

std::string CheckpointId(std::string_view name) {
  const size_t at = name.find(kCheckpoints);
  return at == name.npos ? "" : std::string(name.substr(at + kCheckpoints.size()));
}

std::string CheckpointName(std::string_view job_name, std::string_view checkpoint_id) {
  return std::string(job_name).append(kCheckpoints).append(checkpoint_id);
}

}  // namespace trainerd
