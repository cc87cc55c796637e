// SPDX-License-Identifier: Apache-2.0
// A job file with its --set values as a JobConfig, with the lines that errors are said with.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/view/environment.h"
#include "proto/contract/config/yaml_to_proto.h"
#include "trainerd/v1/job_config.pb.h"

namespace trainerd::client {

struct JobFileOptions {
  std::string path;               // empty: no file, only `sets`
  std::vector<std::string> sets;  // "path=value"
  bool complete = true;  // false: required fields and ranges are left to the daemon (submit --from)
};

struct JobFile {
  std::string path;  // as the user wrote it: for messages
  std::string absolute_path;
  v1::JobConfig config;                     // paths absolute, name filled in
  std::map<std::string, int> lines;         // field path → line
  std::vector<ConfigViolation> violations;  // every fault that can be seen here; empty = usable
};

// Reads, merges and checks. Relative paths, those of --set too, start from the job file's folder
// (without a file: from the working directory). Errors: NotFound and other file errors;
// InvalidArgument for a --set without "=". A file that is no YAML has that as its only violation.
absl::StatusOr<JobFile> LoadJobFile(const JobFileOptions& options, const Environment& env);

}  // namespace trainerd::client
