// SPDX-License-Identifier: Apache-2.0
// The time limit of a forced stop, which the command records and the reconciler enforces.
#pragma once

#include "absl/time/time.h"

namespace trainerd {

// Time from a forced stop to SIGKILL. Until then the worker is requested to discard its work.
inline constexpr absl::Duration kForceGrace = absl::Seconds(2);

}  // namespace trainerd
