// SPDX-License-Identifier: Apache-2.0
// `submit --sweep`: one job for each combination of values, as a group.
#pragma once

#include "client/commands/commands.h"

namespace trainerd::client {

// Checks every job before it submits the first one. The jobs have request ids that follow from the
// one of the call, so that a repeated call submits what is missing.
int RunSubmitSweep(const SubmitOptions& options, const Context& context);

}  // namespace trainerd::client
