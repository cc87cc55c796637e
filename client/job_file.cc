// SPDX-License-Identifier: Apache-2.0
#include "client/job_file.h"

#include <filesystem>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "proto/base/atomic_file.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/job_config_rules.h"

namespace trainerd::client {
namespace {

std::string FolderOf(const std::string& absolute_path) {
  return std::filesystem::path(absolute_path).parent_path().string();
}

bool IsWithin(const std::string& path, const std::string& parent) {
  return path == parent ||
         (path.size() > parent.size() && path.compare(0, parent.size(), parent) == 0 &&
          (path[parent.size()] == '.' || path[parent.size()] == '['));
}

absl::Status ApplySet(const std::string& set, JobFile* job) {
  const size_t equals = set.find('=');
  if (equals == std::string::npos || equals == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("--set ", set, " is not PATH=VALUE, for example --set train.max_steps=20"));
  }
  YamlResult result = SetField(set.substr(0, equals), set.substr(equals + 1), &job->config);
  for (ConfigViolation& violation : result.violations) {
    violation.line = 0;
    violation.message = absl::StrCat(violation.message, " (in --set ", set, ")");
    job->violations.push_back(std::move(violation));
  }
  // What --set replaced does not stand in the file any more.
  for (const std::string& path : result.given) job->lines.erase(path);
  return absl::OkStatus();
}

// Ranges and cross-field rules on what was understood. A field that could not be read is not
// reported a second time as missing.
void CheckRules(const std::string& default_name, JobFile* job) {
  std::vector<ConfigViolation> found;
  ResolveJobConfig(job->config, {.now = absl::Now(), .default_name = default_name}, &found);
  const std::vector<ConfigViolation> unread = job->violations;
  for (ConfigViolation& violation : found) {
    bool known = false;
    for (const ConfigViolation& other : unread) {
      known = known || IsWithin(violation.path, other.path) || IsWithin(other.path, violation.path);
    }
    if (known) continue;
    for (std::string path = violation.path; violation.line == 0 && !path.empty();) {
      if (const auto line = job->lines.find(path); line != job->lines.end())
        violation.line = line->second;
      const size_t cut = path.find_last_of(".[");
      path = cut == std::string::npos ? "" : path.substr(0, cut);
    }
    job->violations.push_back(std::move(violation));
  }
}

}  // namespace

absl::StatusOr<JobFile> LoadJobFile(const JobFileOptions& options, const Environment& env) {
  JobFile job;
  job.path = options.path;
  std::string folder = env.working_dir;
  std::string default_name = "job";
  if (!options.path.empty()) {
    std::filesystem::path path(options.path);
    if (path.is_relative()) path = std::filesystem::path(env.working_dir) / path;
    job.absolute_path = path.lexically_normal().string();
    folder = FolderOf(job.absolute_path);
    default_name = path.stem().string();
    absl::StatusOr<std::string> text = ReadFile(job.absolute_path);
    if (!text.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("cannot read the job file: ", text.status().message()));
    }
    YamlResult result = YamlToMessage(*text, &job.config);
    job.lines = std::move(result.lines);
    job.violations = std::move(result.violations);
    // A fault without a path is one of the text as a whole: nothing of it was understood, and what
    // is missing then would only hide the fault.
    for (const ConfigViolation& violation : job.violations) {
      if (violation.path.empty()) return job;
    }
  }
  for (const std::string& set : options.sets) RETURN_IF_ERROR(ApplySet(set, &job));
  MakePathsAbsolute(folder, &job.config);
  if (!options.path.empty() && options.complete && !job.config.has_name())
    job.config.set_name(default_name);
  if (options.complete) CheckRules(default_name, &job);
  return job;
}

}  // namespace trainerd::client
