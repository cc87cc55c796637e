// SPDX-License-Identifier: Apache-2.0
// Arithmetic on what jobs have used.
#pragma once

#include "trainerd/v1/job.pb.h"

namespace trainerd {

void AddUsage(const v1::Usage& part, v1::Usage* sum);
// What was used between `before` and `now`, two states of the same sum.
v1::Usage UsageSince(const v1::Usage& before, const v1::Usage& now);
bool IsZero(const v1::Usage& usage);

}  // namespace trainerd
