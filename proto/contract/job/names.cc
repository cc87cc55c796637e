// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/job/names.h"

#include <algorithm>

#include "absl/strings/ascii.h"

namespace trainerd {
namespace {

constexpr std::string_view kJobs = "jobs/";
constexpr std::string_view kCheckpoints = "/checkpoints/";
constexpr std::string_view kEvaluations = "/evaluations/";
constexpr std::string_view kFinal = "/final";
constexpr std::string_view kStart = "/start";
constexpr size_t kMaxJobIdBytes = 40;
// Of a folder's name.
constexpr size_t kMaxCheckpointIdBytes = 255;
// Entry or suite, "-", checkpoint and number.
constexpr size_t kMaxEvaluationIdBytes = 64 + kMaxCheckpointIdBytes + 16;

bool IsJobIdByte(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; }

// A name of at most so many bytes that a folder can have.
bool IsFolderName(std::string_view id, size_t max_bytes) {
  return !id.empty() && id.size() <= max_bytes && id.front() != '.' &&
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
    if (!name.starts_with(kJobs) || !IsFolderName(checkpoint, kMaxCheckpointIdBytes))
      return std::nullopt;
    parts.checkpoint_id = std::string(checkpoint);
    name = name.substr(0, at);
  }
  std::optional<std::string> job = ParseJobName(name);
  if (!job.has_value()) return std::nullopt;
  parts.job_id = *std::move(job);
  return parts;
}

std::optional<std::string> ParseModelName(std::string_view name) {
  for (const std::string_view suffix : {kFinal, kStart}) {
    if (!name.ends_with(suffix) || name.find(kCheckpoints) != name.npos) continue;
    const std::string_view job = name.substr(0, name.size() - suffix.size());
    if (!job.starts_with(kJobs) || !ParseJobName(job).has_value()) return std::nullopt;
    return std::string(name);
  }
  const std::optional<ResourceName> parts = ParseJobOrCheckpointName(name);
  if (!parts.has_value() || parts->checkpoint_id.empty()) return std::nullopt;
  return std::string(name);
}

std::optional<std::string> ParseEvaluationName(std::string_view name) {
  const size_t at = name.find(kEvaluations);
  if (at == name.npos || !name.starts_with(kJobs) ||
      !ParseJobName(name.substr(0, at)).has_value() ||
      !IsFolderName(name.substr(at + kEvaluations.size()), kMaxEvaluationIdBytes))
    return std::nullopt;
  return std::string(name);
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

std::string EvaluationId(std::string_view name) {
  const size_t at = name.find(kEvaluations);
  return at == name.npos ? "" : std::string(name.substr(at + kEvaluations.size()));
}

std::string EvaluationName(std::string_view job_name, std::string_view evaluation_id) {
  return std::string(job_name).append(kEvaluations).append(evaluation_id);
}

std::string FinalName(std::string_view job_name) { return std::string(job_name).append(kFinal); }
std::string StartName(std::string_view job_name) { return std::string(job_name).append(kStart); }
bool IsFinalName(std::string_view name) { return name == FinalName(JobName(JobId(name))); }
bool IsStartName(std::string_view name) { return name == StartName(JobName(JobId(name))); }

std::string CheckpointName(std::string_view job_name, std::string_view checkpoint_id) {
  return std::string(job_name).append(kCheckpoints).append(checkpoint_id);
}

}  // namespace trainerd
