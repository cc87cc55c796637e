// SPDX-License-Identifier: Apache-2.0
// Runs trainerd-inspect, the program that reads data files: for preview, and for validate without a
// daemon.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/view/environment.h"
#include "proto/base/process/process.h"
#include "proto/contract/job_file/job_file.h"

namespace trainerd::client {

// Runs trainerd-inspect without a deadline, in the process group of trainctl: Ctrl-C ends both. It
// reads `input` at kChildInputPath. Errors: NotFound with the expected path; ResourceExhausted for
// more than 1 GiB of output.
absl::StatusOr<ProcessResult> RunInspect(const Environment& env, std::vector<std::string> arguments,
                                         const std::string& input = "");

// A job file as trainerd-inspect gets it.
struct InspectJob {
  // The value of --job: the job file itself if it is unchanged, else kChildInputPath.
  std::string path;
  // The input for RunInspect: the job file with the --set values in it, or empty.
  std::string input;
};
InspectJob JobForInspect(const JobFile& job, bool changed);

// The error of a run that ended without a result: what trainerd-inspect printed to stderr, and
// `advice`. InvalidArgument if it reports wrong input, else Internal.
absl::Status FailedInspect(const ProcessResult& result, const std::string& advice = "");

}  // namespace trainerd::client
