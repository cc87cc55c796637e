// SPDX-License-Identifier: Apache-2.0
// evaluation.best: which checkpoint of a job is the best one. Pure; local metrics and those of
// evaluators alike.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "server/store/rows/run_rows.h"
#include "trainerd/v1/job_config.pb.h"

namespace trainerd::server {

// The checkpoint's value of the metric; nullopt where it has none that can be compared (not a
// finite number).
std::optional<double> BestValue(const v1::Checkpoint& checkpoint, const v1::BestConfig& config);

// Names of the checkpoints that can be the best one, the best first: verified, not deleted, with a
// value of the metric. Of equal values `current`, the one that is the best now, comes first, then
// the one that was published earlier.
std::vector<std::string> RankByBest(const std::vector<CheckpointRow>& rows,
                                    const v1::BestConfig& config, const std::string& current);

}  // namespace trainerd::server
