// SPDX-License-Identifier: Apache-2.0
// The optimizers by their name in the job file.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "engine/model/parameters.h"
#include "engine/optim/optimizer.h"
#include "trainerd/v1/job_config.pb.h"

namespace trainerd::engine {

// Builds the optimizer that `config` (resolved) names, with its state allocated and 0. It keeps a
// reference to `parameters`, which must outlive it. Errors: Internal; ResourceExhausted.
absl::StatusOr<std::unique_ptr<Optimizer>> MakeOptimizer(const v1::OptimizerConfig& config,
                                                         ParameterSet& parameters);

}  // namespace trainerd::engine
