// SPDX-License-Identifier: Apache-2.0
// A PEFT folder with a LoRA adapter: adapter_config.json and adapter_model.safetensors, as
// save_pretrained of PEFT and our checkpoints have them. No LibTorch.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/formats/safetensors.h"
#include "engine/model/adapter/peft_config.h"
#include "engine/model/config/model_config.h"
#include "engine/model/folder/adapter.h"
#include "engine/model/folder/hf_folder.h"

namespace trainerd::engine {

// Whether `folder` has an adapter_config.json.
bool IsAdapterFolder(const std::string& folder);

// Immutable after Open; thread-safe.
class AdapterFolder {
 public:
  // Errors: NotFound for a missing folder or file, with what to do; those of ParsePeftConfig and
  // SafetensorsFile::Open.
  static absl::StatusOr<std::unique_ptr<AdapterFolder>> Open(const std::string& folder);

  const std::string& folder() const { return folder_; }
  const PeftConfig& config() const { return config_; }

  // The adapter as part of `model`, with `dropout`. Checks that the file holds both matrices of
  // each layer that the configuration chooses and nothing else, in the right shapes and without NaN
  // and infinity. Errors: InvalidArgument that names file and tensor; Unimplemented for a dtype.
  absl::StatusOr<AdapterSpec> Resolve(const ModelConfig& model, double dropout) const;
  // PEFT saves the embedding and the head of the model beside an adapter of theirs. Errors:
  // InvalidArgument if they differ from those of `weights`.
  absl::Status CheckModelCopies(const HfFolder& weights) const;

  // A tensor of the adapter by its name in AdapterWeights; it must exist.
  StoredDtype DtypeOf(const std::string& name) const;
  std::string_view Bytes(const std::string& name) const;

 private:
  AdapterFolder() = default;
  absl::Status ReadNames();
  // The layers of `model` of which the file has a matrix, or that the configuration chooses.
  absl::StatusOr<std::vector<AdapterTarget>> TargetsIn(const ModelConfig& model) const;
  absl::Status CheckTensor(const WeightSpec& spec) const;
  // "; the adapter is of BASE", for messages.
  std::string BaseText() const;

  std::string folder_;
  PeftConfig config_;
  std::unique_ptr<SafetensorsFile> file_;
  // By the name in AdapterWeights. PEFT also reads names with the adapter's name "default".
  std::map<std::string, const TensorInfo*> tensors_;
  // Copies of weights of the model, by their Hugging Face names.
  std::map<std::string, const TensorInfo*> copies_;
};

}  // namespace trainerd::engine
