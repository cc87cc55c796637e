// SPDX-License-Identifier: Apache-2.0
// Writes a Hugging Face model folder: the weights as safetensors (one file, or shards with an
// index), and copies of the other files of the source model.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/model/parameters.h"
#include "proto/contract/run_dir/manifest.h"

namespace trainerd::engine {

struct WriteWeightsOptions {
  enum class Dtype { kSource, kFloat32, kBFloat16 };
  Dtype dtype = Dtype::kSource;
  int64_t max_shard_bytes = 5'000'000'000;
};

// Writes model.safetensors (or model-0000i-of-0000n.safetensors and model.safetensors.index.json)
// into the existing `folder` and fsyncs every file. Rounds the masters to nearest-even. A tied
// model gets no lm_head. Returns size and hash of each file. Errors: those of SafetensorsWriter,
// such as ResourceExhausted (disk full), with the path.
absl::StatusOr<std::map<std::string, ManifestFile>> WriteModelWeights(
    const std::string& folder, const ParameterSet& parameters,
    const WriteWeightsOptions& options = {});

// Copies the ModelFiles of `from`, byte for byte, fsynced, mode 0644. Returns size and hash of
// each. Errors: NotFound if `from` has no config.json.
absl::StatusOr<std::map<std::string, ManifestFile>> CopyModelFiles(const std::string& from,
                                                                   const std::string& to);

}  // namespace trainerd::engine
