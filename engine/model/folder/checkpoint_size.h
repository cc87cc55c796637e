// SPDX-License-Identifier: Apache-2.0
// How large a job's checkpoints and its final model are, from names, shapes and dtypes. The worker
// computes it for the parameters that it loaded, trainerd-inspect for the headers of a folder
// before the job starts. No LibTorch.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/formats/safetensors.h"
#include "engine/model/config/model_config.h"
#include "engine/model/folder/adapter.h"
#include "engine/model/folder/freeze.h"
#include "engine/model/folder/hf_folder.h"
#include "engine/model/folder/weight_spec.h"
#include "trainerd/v1/job_config.pb.h"

namespace trainerd::engine {

// A checkpoint stores the master of parameter P as P.master, in fp32, or bf16 with bf16_sr.
inline constexpr char kMasterName[] = "master";

// Whether the model file may not hold the master of a parameter that it stores as `dtype`.
bool NeedsMaster(StoredDtype dtype);

// A parameter as a checkpoint stores it.
struct StoredParameter {
  std::string name;
  // Of the model file; empty: `name`.
  std::string name_in_files = {};
  std::vector<int64_t> shape;
  // Of the model file.
  StoredDtype dtype = StoredDtype::kFloat32;
  bool trains = true;
  ParameterGroup group = ParameterGroup::kMatrix;
};

// The parameters of `config` in the dtypes of `weights`, and the vision part. Empty if `weights`
// lacks one or has it in another shape.
std::vector<StoredParameter> StoredParameters(const ModelConfig& config, const HfFolder& weights,
                                              const FrozenNames& frozen);

// Adds a tensor of the vision part.
void AddKept(const TensorInfo& tensor, std::vector<StoredParameter>& parameters);

// The tensors of an adapter.
std::vector<StoredParameter> StoredParameters(const AdapterSpec& adapter);

struct CheckpointSize {
  // Weights (with lora: of the adapter), fp32 masters, optimizer state, the state of the run and
  // the small files.
  int64_t checkpoint_bytes = 0;
  // Weights (those of the adapter, where final/ is one) and small files.
  int64_t final_bytes = 0;
};

// `model` are the parameters of the whole model; `adapter` is that of a job with lora, else
// nullptr. `config` is resolved. The small files are those of `model_folder`. The safetensors files
// are computed exactly; the state of the run is estimated at 7 KiB.
CheckpointSize ComputeCheckpointSize(const std::vector<StoredParameter>& model,
                                     const AdapterSpec* adapter, const v1::JobConfig& config,
                                     const std::string& model_folder);

}  // namespace trainerd::engine
