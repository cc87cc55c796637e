// SPDX-License-Identifier: Apache-2.0
// Runs trainerd-inspect, the program that reads data files: for preview, and for validate without a
// daemon.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/subprocess.h"
#include "client/view/environment.h"
#include "proto/contract/config/job_file.h"

namespace trainerd::client {

// Errors: NotFound with the path, if the program does not exist.
absl::StatusOr<ProcessResult> RunInspect(const Environment& env,
                                         const std::vector<std::string>& arguments);

// The path for --job: the job file itself, or a temporary file with the --set values applied.
class InspectJob {
 public:
  static absl::StatusOr<InspectJob> Create(const JobFile& job, bool changed);
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  std::optional<TemporaryFile> temporary_;
};

}  // namespace trainerd::client
