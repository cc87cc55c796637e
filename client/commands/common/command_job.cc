// SPDX-License-Identifier: Apache-2.0
#include "client/commands/common/command_job.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "client/commands/common/errors.h"
#include "client/net/job_names.h"
#include "proto/base/status_macros.h"
#include "proto/contract/job/names.h"

namespace trainerd::client {

std::optional<JobFile> ReadJob(const JobFileArguments& arguments, const Context& context) {
  absl::StatusOr<JobFile> job = ReadJobFile({.path = arguments.file,
                                             .sets = arguments.sets,
                                             .working_dir = context.env.working_dir,
                                             .home_dir = context.env.home_dir,
                                             .complete = arguments.complete});
  if (!job.ok()) {
    PrintError(job.status(), context);
    return std::nullopt;
  }
  if (!job->violations.empty()) {
    PrintViolations(*job, context);
    return std::nullopt;
  }
  return *std::move(job);
}

absl::StatusOr<FoundJob> FindJob(const std::string& text, const Context& context) {
  FoundJob found;
  ASSIGN_OR_RETURN(found.connection, context.Connect());
  ASSIGN_OR_RETURN(found.name, ResolveJobName(*found.connection, text));
  return found;
}

absl::StatusOr<FoundJob> FindJobOrAll(const std::string& text, const Context& context) {
  if (!text.empty()) return FindJob(text, context);
  FoundJob found{.connection = nullptr, .name = kAllJobs};
  ASSIGN_OR_RETURN(found.connection, context.Connect());
  return found;
}

absl::StatusOr<FoundJob> FindCheckpoint(const std::string& text, const Context& context) {
  if (CheckpointId(text).empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", text,
                     "\" is not a checkpoint; write JOB/checkpoints/ID, as `trainctl "
                     "checkpoints ls` lists them"));
  }
  FoundJob found;
  ASSIGN_OR_RETURN(found.connection, context.Connect());
  ASSIGN_OR_RETURN(found.name, ResolveJobOrCheckpoint(*found.connection, text));
  return found;
}

}  // namespace trainerd::client
