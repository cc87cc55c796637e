// SPDX-License-Identifier: Apache-2.0
// trainerd-inspect, the program that reads data files: run here by preview, and by validate where
// no daemon is.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/job_file.h"
#include "client/subprocess.h"
#include "client/view/environment.h"

namespace trainerd::client {

// Runs trainerd-inspect. Errors: NotFound with where it was looked for.
absl::StatusOr<ProcessResult> RunInspect(const Environment& env,
                                         const std::vector<std::string>& arguments);

// The path to give as --job: the job file itself, or a temporary one with the --set values in it.
class InspectJob {
 public:
  static absl::StatusOr<InspectJob> Create(const JobFile& job, bool changed);
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  std::optional<TemporaryFile> temporary_;
};

}  // namespace trainerd::client
