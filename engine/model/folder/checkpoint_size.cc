// SPDX-License-Identifier: Apache-2.0
#include "engine/model/folder/checkpoint_size.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/model/adapter/peft_config.h"
#include "engine/model/folder/model_files.h"
#include "engine/model/folder/optimizer_state.h"
#include "engine/model/folder/weight_spec.h"
#include "proto/contract/config/config_choices.h"

namespace trainerd::engine {
namespace {

// state.json, job_config.yaml and MANIFEST.json of usual jobs.
constexpr int64_t kStateBytes = 7 << 10;

// Of the files of `folder` with these names.
int64_t FileBytes(const std::string& folder, const std::vector<std::string>& names) {
  int64_t bytes = 0;
  for (const std::string& name : names) {
    std::error_code error;
    const auto size = std::filesystem::file_size(absl::StrCat(folder, "/", name), error);
    if (!error) bytes += static_cast<int64_t>(size);
  }
  return bytes;
}

int64_t WeightBytes(const std::vector<StoredParameter>& parameters) {
  std::vector<SafetensorsWriter::Declared> tensors;
  for (const StoredParameter& parameter : parameters) {
    tensors.push_back({parameter.name_in_files.empty() ? parameter.name : parameter.name_in_files,
                       parameter.dtype, parameter.shape});
  }
  return SafetensorsWriter::FileBytes(tensors);
}

// Of optimizer.safetensors.
int64_t TrainingBytes(const std::vector<StoredParameter>& parameters, const v1::JobConfig& config) {
  const StoredDtype master = config.train().precision() == v1::TrainConfig::PRECISION_BF16_SR
                                 ? StoredDtype::kBFloat16
                                 : StoredDtype::kFloat32;
  std::vector<SafetensorsWriter::Declared> tensors;
  for (const StoredParameter& parameter : parameters) {
    if (!parameter.trains) continue;
    std::vector<StoredState> states =
        StatesOf(config.optimizer(), parameter.group, parameter.shape);
    if (NeedsMaster(parameter.dtype)) states.push_back({kMasterName, master, parameter.shape});
    for (const StoredState& state : states)
      tensors.push_back({absl::StrCat(parameter.name, ".", state.name), state.dtype, state.shape});
  }
  return SafetensorsWriter::FileBytes(tensors);
}

// The model with the adapter merged into it.
std::vector<StoredParameter> WithUntiedHead(std::vector<StoredParameter> model,
                                            const AdapterSpec* adapter) {
  const auto find = [&](ParameterGroup group) {
    return std::find_if(model.begin(), model.end(),
                        [&](const StoredParameter& parameter) { return parameter.group == group; });
  };
  const auto embedding = find(ParameterGroup::kEmbedding);
  const bool is_tied = find(ParameterGroup::kHead) == model.end();
  if (adapter == nullptr || embedding == model.end() || !MergeUnties(*adapter, is_tied))
    return model;
  StoredParameter head = *embedding;
  head.name = head.name_in_files = kHeadName;
  model.push_back(std::move(head));
  return model;
}

}  // namespace

bool NeedsMaster(StoredDtype dtype) {
  return dtype == StoredDtype::kBFloat16 || dtype == StoredDtype::kFloat16;
}

std::vector<StoredParameter> StoredParameters(const ModelConfig& config, const HfFolder& weights,
                                              const FrozenNames& frozen) {
  std::vector<StoredParameter> parameters;
  for (const WeightSpec& spec : WeightsOf(config)) {
    const TensorInfo* stored = weights.Find(spec.name);
    if (stored == nullptr || stored->shape != spec.shape) return {};
    parameters.push_back({.name = spec.name,
                          .name_in_files = weights.NameInFiles(spec.name),
                          .shape = spec.shape,
                          .dtype = stored->dtype,
                          .trains = frozen.count(spec.name) == 0,
                          .group = GroupOf(spec.role)});
  }
  for (const TensorInfo& tensor : weights.VisionTensors()) AddKept(tensor, parameters);
  return parameters;
}

void AddKept(const TensorInfo& tensor, std::vector<StoredParameter>& parameters) {
  parameters.push_back(
      {.name = tensor.name, .shape = tensor.shape, .dtype = tensor.dtype, .trains = false});
}

std::vector<StoredParameter> StoredParameters(const AdapterSpec& adapter) {
  std::vector<StoredParameter> parameters;
  for (const WeightSpec& spec : AdapterWeights(adapter))
    parameters.push_back({.name = spec.name, .shape = spec.shape, .group = GroupOf(spec.role)});
  return parameters;
}

CheckpointSize ComputeCheckpointSize(const std::vector<StoredParameter>& model,
                                     const AdapterSpec* adapter, const v1::JobConfig& config,
                                     const std::string& model_folder) {
  const std::vector<StoredParameter> adapter_parameters =
      adapter == nullptr ? std::vector<StoredParameter>() : StoredParameters(*adapter);
  const int64_t training_bytes =
      TrainingBytes(adapter == nullptr ? model : adapter_parameters, config);
  const int64_t model_bytes = WeightBytes(WithUntiedHead(model, adapter)) +
                              FileBytes(model_folder, ModelFiles(model_folder));
  CheckpointSize size{.checkpoint_bytes = model_bytes, .final_bytes = model_bytes};
  if (adapter != nullptr) {
    size.checkpoint_bytes =
        WeightBytes(adapter_parameters) + FileBytes(model_folder, AdapterFiles(model_folder)) +
        static_cast<int64_t>(PeftConfigJson(*adapter, config.model().path()).size());
    if (WritesAdapter(config.output().form())) size.final_bytes = size.checkpoint_bytes;
  }
  size.checkpoint_bytes += training_bytes + kStateBytes;
  return size;
}

}  // namespace trainerd::engine
