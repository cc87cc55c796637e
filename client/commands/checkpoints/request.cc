// SPDX-License-Identifier: Apache-2.0
// trainctl checkpoint: requests a checkpoint of a running job.
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/commands/commands.h"
#include "client/commands/common/command_job.h"
#include "client/commands/common/errors.h"
#include "client/commands/common/job_text.h"

namespace trainerd::client {

int RunCheckpoint(const CheckpointOptions& options, const Context& context) {
  v1::RequestCheckpointRequest request;
  for (const std::string& label : options.labels) {
    const size_t equals = label.find('=');
    if (equals == std::string::npos || equals == 0) {
      return PrintError(
          absl::InvalidArgumentError(absl::StrCat("--label ", label, " is not KEY=VALUE")),
          context);
    }
    (*request.mutable_labels())[label.substr(0, equals)] = label.substr(equals + 1);
  }
  const absl::StatusOr<FoundJob> found = FindJob(options.job, context);
  if (!found.ok()) return PrintError(found.status(), context);
  request.set_name(found->name);
  request.set_request_id(NewRequestId());
  request.set_pin(options.pin);
  const absl::StatusOr<v1::Job> job = found->connection->Call<v1::Job>(request);
  if (!job.ok()) return PrintError(job.status(), context);
  PrintJobResult(*job, context);
  return kDone;
}

}  // namespace trainerd::client
