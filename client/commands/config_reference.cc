// SPDX-License-Identifier: Apache-2.0
// trainctl config reference: every key of a job file, out of job_config.proto.
#include "proto/contract/job_file/config_reference.h"

#include "client/commands/commands.h"
#include "proto/contract/config/rules/job_config_rules.h"

namespace trainerd::client {

int RunConfigReference(const Context& context) {
  context.out() << ConfigReference();
  context.out().flush();
  return kDone;
}

}  // namespace trainerd::client
