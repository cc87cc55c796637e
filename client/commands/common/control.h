// SPDX-License-Identifier: Apache-2.0
// Shared by pause, resume and stop: find the job, call the daemon, print the job.
#pragma once

#include <string>

#include "client/commands/common/command_job.h"
#include "client/commands/common/context.h"
#include "client/commands/common/errors.h"
#include "client/commands/common/job_text.h"
#include "client/view/format.h"
#include "proto/base/time.h"

namespace trainerd::client {

// The value of --grace; empty: nothing is read. Errors: InvalidArgument.
inline absl::Status ReadGrace(const std::string& text, google::protobuf::Duration* grace) {
  if (text.empty()) return absl::OkStatus();
  const absl::StatusOr<absl::Duration> span = ParseSpan(text);
  if (span.ok()) *grace = ToProto(*span);
  return span.status();
}

// Resolves JOB, runs `call(connection, jobs/ID)` and prints the job that it returns. Returns the
// exit code.
template <typename Call>
int ControlJob(const std::string& text, const Context& context, Call call) {
  const absl::StatusOr<FoundJob> found = FindJob(text, context);
  if (!found.ok()) return PrintError(found.status(), context);
  const absl::StatusOr<v1::Job> job = call(*found->connection, found->name);
  if (!job.ok()) return PrintError(job.status(), context);
  PrintJobResult(*job, context);
  return kDone;
}

}  // namespace trainerd::client
