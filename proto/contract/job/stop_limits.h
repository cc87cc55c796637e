// SPDX-License-Identifier: Apache-2.0
// Time limits of a stop that the daemon enforces. The shim's limits are in shim/stop_escalation.h.
#pragma once

#include "absl/time/time.h"

namespace trainerd {

// After a force stop: from the request, which discards between two microbatches, to SIGKILL.
inline constexpr absl::Duration kForceGrace = absl::Seconds(2);

}  // namespace trainerd
