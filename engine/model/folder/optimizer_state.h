// SPDX-License-Identifier: Apache-2.0
// Which state an optimizer keeps for a parameter, and whether a job can continue with that of a
// checkpoint, by the headers of its files. No LibTorch.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "engine/formats/safetensors.h"
#include "engine/model/folder/checkpoint_size.h"
#include "engine/model/folder/weight_spec.h"
#include "trainerd/v1/job_config.pb.h"

namespace trainerd::engine {

// A checkpoint's optimizer state: NAME.STATE for each parameter that trains and each of its states
// (StatesOf), and NAME.master where the model file stores the parameter in a narrower type than
// fp32 (checkpoint_size.h).
inline constexpr char kOptimizerName[] = "optimizer.safetensors";

// adamw_8bit, as AdamW8bit of bitsandbytes: elements that share a scale, and the size below which a
// tensor keeps fp32 moments.
inline constexpr int64_t kQuantizedBlock = 256;
inline constexpr int64_t kLeastQuantizedSize = 4096;

struct StoredState {
  std::string name;
  StoredDtype dtype = StoredDtype::kFloat32;
  std::vector<int64_t> shape;
};

// What `optimizer` (resolved) keeps for a parameter that trains: as in Optimizer::State, without
// the master.
std::vector<StoredState> StatesOf(const v1::OptimizerConfig& optimizer, ParameterGroup group,
                                  const std::vector<int64_t>& shape);

// Checks that kOptimizerName in `folder` has what a job with `optimizer` needs for each of
// `parameters` that trains. Errors: FailedPrecondition if it has no state, that of another
// optimizer, or none for a parameter that the checkpoint's job froze; those of
// SafetensorsFile::Open.
absl::Status CheckOptimizerState(const v1::OptimizerConfig& optimizer,
                                 const std::vector<StoredParameter>& parameters,
                                 const std::string& folder);

}  // namespace trainerd::engine
