// SPDX-License-Identifier: Apache-2.0
// trainctl resume: resumes a paused job, or releases a held one.
#include "client/commands/commands.h"
#include "client/commands/common/control.h"
#include "proto/contract/job/names.h"

namespace trainerd::client {

int RunResume(const ResumeOptions& options, const Context& context) {
  return ControlJob(options.job, context, [&](Connection& connection, const std::string& name) {
    v1::ResumeRequest request;
    request.set_name(name);
    request.set_request_id(NewRequestId());
    const std::string& from = options.from_checkpoint;
    if (!from.empty()) {
      request.set_from_checkpoint(
          CheckpointName(name, CheckpointId(from).empty() ? from : CheckpointId(from)));
    }
    return connection.Call<v1::Job>(request);
  });
}

}  // namespace trainerd::client
