// SPDX-License-Identifier: Apache-2.0
// A warm-up must end before the job, and a decay must fit behind it. The length of a job that is
// given in epochs follows from its data; for train.max_steps, the rules of the configuration check
// the same.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "trainerd/v1/event.pb.h"
#include "trainerd/v1/job_config.pb.h"

namespace trainerd::engine {

// `total_steps`: of the whole job. Errors: InvalidArgument with the numbers.
absl::Status CheckWarmUp(const v1::JobConfig& config, int64_t total_steps);

// The same before the data is tokenized, where the quick report, which has read every record, shows
// that there cannot be enough steps: every example that is not split is in one sequence.
absl::Status CheckWarmUpQuickly(const v1::JobConfig& config, const v1::DataReport& quick);

}  // namespace trainerd::engine
