// SPDX-License-Identifier: Apache-2.0
// Writes a Hugging Face model folder or a PEFT folder: the weights as safetensors (one file, or
// shards with an index), and copies of the other files of the source model.
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
  // Elements of a matrix that are merged with an adapter at once: 16 MiB in fp32.
  int64_t max_merge_elements = int64_t{4} << 20;
};

// The size of the tensors that WriteModelWeights writes.
int64_t ModelWeightBytes(const ParameterSet& parameters, WriteWeightsOptions::Dtype dtype);

// Writes model.safetensors (or model-0000i-of-0000n.safetensors and model.safetensors.index.json)
// into the existing `folder` and fsyncs every file. Rounds the masters to nearest-even. A tied
// model gets no lm_head. An adapter is merged: W + scale × B A in fp32, one block of rows after the
// other, rounded to nearest-even. The model gets an lm_head if that untied it (MergeUnties).
// Returns size and hash of each file. Errors: those of SafetensorsWriter, such as ResourceExhausted
// (disk full), with the path; OutOfRange if a merged weight exceeds its dtype.
absl::StatusOr<std::map<std::string, ManifestFile>> WriteModelWeights(
    const std::string& folder, const ParameterSet& parameters,
    const WriteWeightsOptions& options = {});

// Writes the adapter of `parameters` as adapter_model.safetensors, in fp32 as it trained, in the
// same way.
absl::StatusOr<std::map<std::string, ManifestFile>> WriteAdapterWeights(
    const std::string& folder, const ParameterSet& parameters);

// Copies the ModelFiles of `from`, byte for byte, fsynced, mode 0644. Returns size and hash of
// each. Errors: NotFound if `from` has no config.json.
absl::StatusOr<std::map<std::string, ManifestFile>> CopyModelFiles(const std::string& from,
                                                                   const std::string& to);
// The same for AdapterFiles, of which there may be none.
absl::StatusOr<std::map<std::string, ManifestFile>> CopyAdapterFiles(const std::string& from,
                                                                     const std::string& to);

}  // namespace trainerd::engine
