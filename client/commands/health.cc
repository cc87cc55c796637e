// SPDX-License-Identifier: Apache-2.0
// trainctl health: what the daemon's health service answers, for probes of containers.
#include "client/commands/commands.h"
#include "client/commands/common/errors.h"
#include "proto/base/status_macros.h"

namespace trainerd::client {
namespace {

absl::Status CheckHealth(const Context& context) {
  ASSIGN_OR_RETURN(const Address address, ResolveAddress(context.address, context.env));
  return Connection::CheckHealth(address);
}

}  // namespace

int RunHealth(const Context& context) {
  if (const absl::Status status = CheckHealth(context); !status.ok())
    return PrintError(status, context);
  context.out() << (IsForPeople(context.form)           ? "serving"
                    : context.form == OutputForm::kYaml ? "status: SERVING"
                                                        : "{\"status\":\"SERVING\"}")
                << std::endl;
  return kDone;
}

}  // namespace trainerd::client
