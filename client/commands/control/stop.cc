// SPDX-License-Identifier: Apache-2.0
// trainctl stop: stops a job, by default with a final checkpoint.
#include "client/commands/commands.h"
#include "client/commands/common/control.h"

namespace trainerd::client {

int RunStop(const StopOptions& options, const Context& context) {
  google::protobuf::Duration grace;
  if (const absl::Status read = ReadGrace(options.grace, &grace); !read.ok())
    return PrintUsageError(std::string(read.message()), context);
  return ControlJob(options.job, context, [&](Connection& connection, const std::string& name) {
    v1::StopRequest request;
    request.set_name(name);
    request.set_request_id(NewRequestId());
    request.set_reason(options.reason);
    if (!options.grace.empty()) *request.mutable_grace() = grace;
    request.set_mode(options.force     ? v1::StopRequest::FORCE
                     : options.discard ? v1::StopRequest::DISCARD
                                       : v1::StopRequest::GRACEFUL);
    return connection.Call<v1::Job>(request);
  });
}

}  // namespace trainerd::client
