// SPDX-License-Identifier: Apache-2.0
// The job that a command names: a job file, or a job of the daemon.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/commands/common/context.h"
#include "proto/contract/job_file/job_file.h"

namespace trainerd::client {

struct JobFileArguments {
  std::string file;
  std::vector<std::string> sets;
  // JobFileOptions::complete
  bool complete = true;
};
// Reads the job file and applies --set. Prints the errors of either; the exit code is then kUsage.
std::optional<JobFile> ReadJob(const JobFileArguments& arguments, const Context& context);

// A job of the daemon, and the connection that found it.
struct FoundJob {
  std::unique_ptr<Connection> connection;
  // "jobs/ID"
  std::string name;
};
// Errors: those of Context::Connect and ResolveJobName.
absl::StatusOr<FoundJob> FindJob(const std::string& text, const Context& context);
// The same; an empty text stands for all jobs (jobs/-).
absl::StatusOr<FoundJob> FindJobOrAll(const std::string& text, const Context& context);
// The name of a checkpoint, JOB/checkpoints/ID. Errors: also InvalidArgument.
absl::StatusOr<FoundJob> FindCheckpoint(const std::string& text, const Context& context);

}  // namespace trainerd::client
