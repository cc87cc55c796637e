// SPDX-License-Identifier: Apache-2.0
// optimizer.safetensors of a checkpoint: per parameter NAME.exp_avg and NAME.exp_avg_sq, and
// NAME.master where the model file keeps the parameter narrower than it is trained. All fp32.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/model/parameters.h"
#include "engine/optim/adamw.h"
#include "proto/contract/run_dir/manifest.h"

namespace trainerd::engine {

inline constexpr char kOptimizerName[] = "optimizer.safetensors";

// Writes and fsyncs FOLDER/optimizer.safetensors. Errors: those of SafetensorsWriter.
absl::StatusOr<ManifestFile> WriteOptimizerFile(const std::string& folder,
                                                const ParameterSet& parameters, AdamW& optimizer);

// Copies moments and masters back, bit for bit, then PublishCompute. `parameters` must have been
// loaded from the same folder's model file. Errors: NotFound, DataLoss or InvalidArgument naming
// file and tensor.
absl::Status ReadOptimizerFile(const std::string& folder, ParameterSet& parameters,
                               AdamW& optimizer);

// Whether the model file cannot hold the fp32 master of this parameter.
bool NeedsMaster(const Parameter& parameter);

// Bytes that a checkpoint's two weight files will have, headers apart.
int64_t EstimateCheckpointBytes(const ParameterSet& parameters);

}  // namespace trainerd::engine
