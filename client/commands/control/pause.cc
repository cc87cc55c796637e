// SPDX-License-Identifier: Apache-2.0
// trainctl pause: requests a pause; `trainctl wait JOB --for PAUSED` waits for it.
#include "client/commands/commands.h"
#include "client/commands/common/control.h"

namespace trainerd::client {

int RunPause(const ControlOptions& options, const Context& context) {
  google::protobuf::Duration grace;
  if (const absl::Status read = ReadGrace(options.grace, &grace); !read.ok())
    return PrintUsageError(std::string(read.message()), context);
  return ControlJob(options.job, context, [&](Connection& connection, const std::string& name) {
    v1::PauseRequest request;
    request.set_name(name);
    request.set_request_id(NewRequestId());
    request.set_reason(options.reason);
    if (!options.grace.empty()) *request.mutable_grace() = grace;
    return connection.Call<v1::Job>(request);
  });
}

}  // namespace trainerd::client
