// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/job_file/job_file.h"

#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "proto/base/atomic_file.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/config_paths.h"
#include "proto/contract/config/rules/job_config_rules.h"
#include "proto/contract/job_file/yaml_to_proto.h"

namespace trainerd {
namespace {

namespace fs = std::filesystem;

constexpr char kDefaultName[] = "job";

// Whether `path` is `parent` or a part of it: train.seed of train, data.train[0] of data.train.
bool IsWithin(const std::string& path, const std::string& parent) {
  return path == parent ||
         (path.size() > parent.size() && path.compare(0, parent.size(), parent) == 0 &&
          (path[parent.size()] == '.' || path[parent.size()] == '['));
}

absl::StatusOr<std::string> AbsoluteFolder(const std::string& working_dir) {
  if (!working_dir.empty()) return working_dir;
  std::error_code error;
  const std::string folder = fs::current_path(error).string();
  if (error) return ErrnoStatus(error.value(), "current working directory");
  return folder;
}

absl::Status ApplySet(const std::string& set, JobFile* job) {
  const size_t equals = set.find('=');
  if (equals == std::string::npos || equals == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("--set ", set, " is not PATH=VALUE; write for example train.max_steps=20"));
  }
  const std::string path = set.substr(0, equals);
  YamlResult result = SetField(path, set.substr(equals + 1), &job->config);
  for (ConfigViolation& violation : result.violations) {
    violation.set = set;
    job->violations.push_back(std::move(violation));
  }
  if (result.given.empty()) return absl::OkStatus();
  // The file's values were replaced, so their lines are not where the values are. A group keeps the
  // keys that the option does not name.
  for (const std::string& given : result.given) {
    std::erase_if(job->lines, [&](const auto& line) { return IsWithin(line.first, given); });
    job->sets[given] = set;
  }
  job->sets[path] = set;
  return absl::OkStatus();
}

// Fills in `resolved` and adds what the rules find. A field that could not be read is not reported
// a second time as missing.
void Resolve(const std::string& default_name, JobFile* job) {
  std::vector<ConfigViolation> found;
  job->resolved =
      ResolveJobConfig(job->config, {.now = absl::Now(), .default_name = default_name}, &found);
  AttachOrigins(*job, &found);
  const std::vector<ConfigViolation> unread = job->violations;
  for (ConfigViolation& violation : found) {
    bool known = false;
    for (const ConfigViolation& other : unread) {
      known = known || IsWithin(violation.path, other.path) || IsWithin(other.path, violation.path);
    }
    if (!known) job->violations.push_back(std::move(violation));
  }
}

// What to do about a job file that cannot be read.
std::string JobFileAdvice(const fs::path& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) return "name the YAML file in this folder";
  if (fs::exists(path, error)) return "check that you may read it";
  std::vector<std::string> names;
  for (fs::directory_iterator entry(path.parent_path(), error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string extension = entry->path().extension().string();
    if (extension == ".yaml" || extension == ".yml")
      names.push_back(entry->path().filename().string());
  }
  if (error) return "check the path";
  const std::string nearest = NearestWord(path.filename().string(), names);
  if (!nearest.empty()) return absl::StrCat("did you mean \"", nearest, "\"?");
  return names.size() == 1 ? absl::StrCat("the only YAML file of the folder is ", names[0])
                           : "check the path; relative paths start in the current folder";
}

absl::StatusOr<std::string> ReadContents(const std::string& path) {
  absl::StatusOr<std::string> text = ReadStream(path);
  if (text.ok()) return text;
  return absl::InvalidArgumentError(absl::StrCat(
      "cannot read the job file: ", text.status().message(), "; ", JobFileAdvice(path)));
}

// Reads the file into `job`. False: nothing in it could be read, so its values are unknown.
absl::StatusOr<bool> ReadFileInto(const fs::path& path, const JobFileOptions& options,
                                  JobFile* job) {
  job->absolute_path = path.lexically_normal().string();
  std::string text = options.contents.value_or("");
  if (!options.contents.has_value()) {
    ASSIGN_OR_RETURN(text, ReadContents(job->absolute_path));
  }
  YamlResult result = YamlToMessage(text, &job->config);
  job->lines = std::move(result.lines);
  job->violations = std::move(result.violations);
  for (const ConfigViolation& violation : job->violations) {
    if (violation.path.empty()) return false;
  }
  return true;
}

}  // namespace

absl::StatusOr<JobFile> ReadJobFile(const JobFileOptions& options) {
  JobFile job{.path = options.path};
  ASSIGN_OR_RETURN(std::string folder, AbsoluteFolder(options.working_dir));
  std::string name = kDefaultName;
  if (!options.path.empty()) {
    ASSIGN_OR_RETURN(const bool readable,
                     ReadFileInto(fs::path(folder) / options.path, options, &job));
    if (!readable) return job;
    const fs::path path(job.absolute_path);
    folder = path.parent_path().string();
    name = path.stem().string();
  }
  for (const std::string& set : options.sets) RETURN_IF_ERROR(ApplySet(set, &job));
  MakePathsAbsolute(folder, &job.config, options.home_dir);
  if (!options.complete) return job;
  if (!job.config.data().has_now() && !options.default_now.empty())
    job.config.mutable_data()->set_now(options.default_now);
  Resolve(name, &job);
  if (!options.path.empty() && !job.config.has_name()) job.config.set_name(name);
  return job;
}

void AttachOrigins(const JobFile& job, std::vector<ConfigViolation>* violations) {
  for (ConfigViolation& violation : *violations) {
    if (violation.line > 0 || !violation.set.empty()) continue;
    for (std::string path = violation.path; !path.empty(); path = EnclosingPath(path)) {
      const auto set = job.sets.find(path);
      const auto line = job.lines.find(path);
      if (set != job.sets.end()) violation.set = set->second;
      if (set == job.sets.end() && line != job.lines.end()) violation.line = line->second;
      if (set != job.sets.end() || line != job.lines.end()) break;
    }
  }
}

absl::StatusOr<v1::ResolvedJobConfig> ReadResolvedJob(const JobFileOptions& options) {
  ASSIGN_OR_RETURN(JobFile job, ReadJobFile(options));
  RETURN_IF_ERROR(ViolationsToStatus(job.violations, job.path));
  return std::move(job.resolved);
}

}  // namespace trainerd
