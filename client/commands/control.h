// SPDX-License-Identifier: Apache-2.0
// Shared by pause, resume and stop: find the job, call the daemon, print the job.
#pragma once

#include <string>

#include "client/commands/context.h"
#include "client/commands/errors.h"
#include "client/commands/job_text.h"
#include "client/net/job_names.h"

namespace trainerd::client {

// Resolves JOB, runs `call(connection, jobs/ID)` and prints the job that it returns. Returns the
// exit code.
template <typename Call>
int ControlJob(const std::string& text, const Context& context, Call call) {
  absl::StatusOr<std::unique_ptr<Connection>> connection = context.Connect();
  if (!connection.ok()) return PrintError(connection.status(), context);
  const absl::StatusOr<std::string> name = ResolveJobName(**connection, text);
  if (!name.ok()) return PrintError(name.status(), context);
  const absl::StatusOr<v1::Job> job = call(**connection, *name);
  if (!job.ok()) return PrintError(job.status(), context);
  PrintJobResult(*job, context);
  return kDone;
}

}  // namespace trainerd::client
