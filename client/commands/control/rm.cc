// SPDX-License-Identifier: Apache-2.0
// trainctl rm: deletes jobs that have ended, with their run directories and checkpoints. A job that
// cannot be deleted does not keep the others.
#include "client/commands/commands.h"
#include "client/commands/common/errors.h"
#include "client/commands/common/job_set.h"
#include "proto/base/plain_text.h"

namespace trainerd::client {
namespace {

int RemoveJob(Connection& connection, const std::string& name, const Context& context,
              JobDocuments* documents) {
  v1::DeleteJobRequest request;
  request.set_name(name);
  request.set_request_id(NewRequestId());
  const absl::StatusOr<v1::Job> job = connection.Call<v1::Job>(request);
  if (!job.ok()) return PrintError(job.status(), context);
  documents->Add(*job);
  if (IsForPeople(context.form)) {
    context.out() << PlainText(name) << (job->deleting() ? " is being deleted" : " deleted")
                  << std::endl;
  }
  return kDone;
}

}  // namespace

int RunRm(const std::vector<std::string>& jobs, const Context& context) {
  absl::StatusOr<std::unique_ptr<Connection>> connection = context.Connect();
  if (!connection.ok()) return PrintError(connection.status(), context);
  const absl::StatusOr<std::vector<std::string>> names = ResolveJobNames(**connection, jobs);
  if (!names.ok()) return PrintError(names.status(), context);
  JobDocuments documents(context, names->size() == 1);
  int code = kDone;
  for (const std::string& name : *names)
    code = Worse(code, RemoveJob(**connection, name, context, &documents));
  documents.Finish();
  return code;
}

}  // namespace trainerd::client
