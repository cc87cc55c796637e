// SPDX-License-Identifier: Apache-2.0
#include "engine/model/folder/checkpoint_size.h"

#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "engine/model/folder/model_files.h"
#include "engine/model/folder/weight_spec.h"

namespace trainerd::engine {
namespace {

// state.json, job_config.yaml and MANIFEST.json of usual jobs.
constexpr int64_t kStateBytes = 6 << 10;

int64_t FileBytes(const std::string& path) {
  std::error_code error;
  const auto bytes = std::filesystem::file_size(path, error);
  return error ? 0 : static_cast<int64_t>(bytes);
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
                          .shape = spec.shape,
                          .dtype = stored->dtype,
                          .trains = frozen.count(spec.name) == 0});
  }
  return parameters;
}

CheckpointSize ComputeCheckpointSize(const std::vector<StoredParameter>& parameters,
                                     const std::vector<std::string>& states,
                                     const std::string& model_folder) {
  std::vector<SafetensorsWriter::Declared> model, training;
  for (const StoredParameter& parameter : parameters) {
    model.push_back({parameter.name, parameter.dtype, parameter.shape});
    if (!parameter.trains) continue;
    std::vector<std::string> kinds = states;
    if (NeedsMaster(parameter.dtype)) kinds.emplace_back(kMasterName);
    for (const std::string& kind : kinds) {
      training.push_back(
          {absl::StrCat(parameter.name, ".", kind), StoredDtype::kFloat32, parameter.shape});
    }
  }
  CheckpointSize size;
  size.final_bytes = SafetensorsWriter::FileBytes(model);
  for (const std::string& name : ModelFiles(model_folder))
    size.final_bytes += FileBytes(absl::StrCat(model_folder, "/", name));
  size.checkpoint_bytes = size.final_bytes + SafetensorsWriter::FileBytes(training) + kStateBytes;
  return size;
}

}  // namespace trainerd::engine
