// SPDX-License-Identifier: Apache-2.0
// Whether a job can continue with the optimizer state of a checkpoint, by the headers of its files.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "engine/model/folder/freeze.h"
#include "engine/model/folder/hf_folder.h"
#include "engine/model/folder/model_config.h"
#include "trainerd/v1/job_config.pb.h"

namespace trainerd::engine {

// A checkpoint's optimizer state: NAME.STATE for each parameter that trains and each state of the
// optimizer, and NAME.master where the model file stores the parameter in a narrower type than
// fp32 (checkpoint_size.h).
inline constexpr char kOptimizerName[] = "optimizer.safetensors";

// Checks that kOptimizerName in `weights`'s folder has what a job with `optimizer` needs for each
// parameter that is not in `frozen`. Errors: FailedPrecondition if it has no state, that of another
// optimizer, or none for a parameter that the checkpoint's job froze; those of
// SafetensorsFile::Open.
absl::Status CheckOptimizerState(const v1::OptimizerConfig& optimizer, const ModelConfig& config,
                                 const FrozenNames& frozen, const HfFolder& weights);

}  // namespace trainerd::engine
