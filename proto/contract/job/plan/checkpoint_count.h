// SPDX-License-Identifier: Apache-2.0
// How many checkpoints of a job are on the disk at the same time.
#pragma once

#include <cstdint>
#include <optional>

#include "trainerd/v1/job_config.pb.h"

namespace trainerd {

// At most: those that checkpoint.keep_last, keep_best and keep_every_steps keep, and the one that
// is being written; fewer if the job writes fewer. `total_steps` of the job, if known;
// train.max_steps otherwise.
int64_t CheckpointsAtOnce(const v1::JobConfig& resolved, std::optional<int64_t> total_steps);

}  // namespace trainerd
