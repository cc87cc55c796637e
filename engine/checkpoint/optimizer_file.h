// SPDX-License-Identifier: Apache-2.0
// Reads and writes optimizer.safetensors of a checkpoint; engine/model/folder/optimizer_state.h
// says what it holds.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/model/folder/optimizer_state.h"
#include "engine/model/parameters.h"
#include "engine/optim/optimizer.h"
#include "proto/contract/run_dir/manifest.h"

namespace trainerd::engine {

// Writes and fsyncs FOLDER/optimizer.safetensors. Errors: those of SafetensorsWriter.
absl::StatusOr<ManifestFile> WriteOptimizerFile(const std::string& folder,
                                                const ParameterSet& parameters,
                                                Optimizer& optimizer);

// Copies optimizer state and masters back, bit for bit, then calls PublishCompute. `parameters`
// must have been loaded from the model file of the same folder. Errors: NotFound, DataLoss or
// InvalidArgument with file and tensor; FailedPrecondition if the file has no state of this kind
// (another optimizer, or the parameter was frozen).
absl::Status ReadOptimizerFile(const std::string& folder, ParameterSet& parameters,
                               Optimizer& optimizer);

// The frozen parameters for which the file of `folder` holds a master: the checkpoint trained them.
// Errors: of SafetensorsFile::Open.
absl::StatusOr<int64_t> CountDroppedMasters(const std::string& folder,
                                            const ParameterSet& parameters);

}  // namespace trainerd::engine
