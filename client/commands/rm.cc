// SPDX-License-Identifier: Apache-2.0
// trainctl rm: deletes a job that has ended, with its run directory and checkpoints.
#include "client/commands/commands.h"
#include "client/commands/control.h"
#include "proto/base/plain_text.h"

namespace trainerd::client {

int RunRm(const std::string& text, const Context& context) {
  absl::StatusOr<std::unique_ptr<Connection>> connection = context.Connect();
  if (!connection.ok()) return PrintError(connection.status(), context.err());
  const absl::StatusOr<std::string> name = ResolveJobName(**connection, text);
  if (!name.ok()) return PrintError(name.status(), context.err());
  v1::DeleteJobRequest request;
  request.set_name(*name);
  request.set_request_id(NewRequestId());
  const absl::StatusOr<v1::Job> job = (*connection)->DeleteJob(request);
  if (!job.ok()) return PrintError(job.status(), context.err());
  if (IsForPeople(context.form)) {
    context.out() << PlainText(*name) << (job->deleting() ? " is being deleted" : " deleted")
                  << std::endl;
  } else {
    PrintMessage(*job, context.form, context.out());
  }
  return kDone;
}

}  // namespace trainerd::client
