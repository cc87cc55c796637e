// SPDX-License-Identifier: Apache-2.0
// trainctl resume: resumes a paused job, or releases a held one.
#include "client/commands/commands.h"
#include "client/commands/control.h"

namespace trainerd::client {

int RunResume(const std::string& job, const Context& context) {
  return ControlJob(job, context, [](Connection& connection, const std::string& name) {
    v1::ResumeRequest request;
    request.set_name(name);
    request.set_request_id(NewRequestId());
    return connection.Resume(request);
  });
}

}  // namespace trainerd::client
