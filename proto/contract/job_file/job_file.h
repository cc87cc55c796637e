// SPDX-License-Identifier: Apache-2.0
// The job file as users write it: YAML plus `--set path=value` → JobConfig with absolute paths,
// defaults and every violation with its line. trainctl, trainerd-worker and trainerd-inspect read
// job files with this code.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/contract/config/config_violation.h"
#include "trainerd/v1/job_config.pb.h"

namespace trainerd {

struct JobFileOptions {
  // "" = no file: the job is what `sets` set.
  std::string path;
  // What the file holds; absent = it is read from `path`.
  std::optional<std::string> contents;
  // "dotted.path=value", applied in order on top of the file.
  std::vector<std::string> sets;
  // Relative paths, if there is no file, and a relative `path` start here; "" = the current working
  // directory.
  std::string working_dir;
  // What a leading ~/ of a path stands for; "" = nothing: it is a folder of that name.
  std::string home_dir;
  // data.now if neither the file nor `sets` set it; "" = the current time.
  std::string default_now;
  // false: the configuration completes that of another job (submit --from), so required fields,
  // ranges and rules are not checked, and no name is filled in.
  bool complete = true;
};

struct JobFile {
  // As in the options: for messages.
  std::string path;
  // "" without a file.
  std::string absolute_path;
  // What the user set, with absolute paths; the name defaults to the file name without extension.
  v1::JobConfig config;
  // With all defaults; empty if not `complete`. Usable if there are no violations.
  v1::ResolvedJobConfig resolved;
  // Field path → line in the file.
  std::map<std::string, int> lines;
  // Field path → the PATH=VALUE of --set that set it.
  std::map<std::string, std::string> sets;
  // Every violation that can be found without the data and the daemon.
  std::vector<ConfigViolation> violations;
};

// Relative paths, also those in `sets`, start from the folder of the job file. If the file is not
// YAML, that is the only violation.
// Errors: InvalidArgument if the file cannot be read, or an element of `sets` has no "=".
absl::StatusOr<JobFile> ReadJobFile(const JobFileOptions& options);

// Gives each violation without a line the line or the --set that its value is from: that of its
// path, or of the nearest enclosing section.
void AttachOrigins(const JobFile& job, std::vector<ConfigViolation>* violations);

// The resolved configuration of a job file. Errors: those of ReadJobFile; InvalidArgument with one
// line `file:line: path: message` per violation.
absl::StatusOr<v1::ResolvedJobConfig> ReadResolvedJob(const JobFileOptions& options);

}  // namespace trainerd
