// SPDX-License-Identifier: Apache-2.0
// Loads the tensors of a PEFT folder into a parameter set.
#pragma once

#include "absl/status/status.h"
#include "engine/model/adapter/adapter_folder.h"
#include "engine/model/parameters.h"

namespace trainerd::engine {

// Copies the matrices of `folder` into the adapter of `parameters`, which AdapterFolder::Resolve
// made, as fp32, then calls PublishCompute.
absl::Status LoadAdapter(const AdapterFolder& folder, ParameterSet& parameters);

}  // namespace trainerd::engine
