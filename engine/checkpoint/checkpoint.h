// SPDX-License-Identifier: Apache-2.0
// A checkpoint folder: model.safetensors in the source's dtype, config.json and tokenizer files (so
// that Hugging Face tools load it), job_config.yaml, optimizer.safetensors, state.json and
// MANIFEST.json. With lora, the adapter and adapter_config.json (so that PEFT loads it) are in the
// place of model.safetensors and config.json. FolderWriter writes it, so it exists completely or
// not at all.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "engine/checkpoint/folder_writer.h"
#include "engine/checkpoint/run_state.h"
#include "engine/model/folder/checkpoint_size.h"
#include "engine/model/model_writer.h"
#include "engine/model/parameters.h"
#include "engine/optim/optimizer.h"
#include "proto/contract/run_dir/manifest.h"
#include "trainerd/v1/checkpoint.pb.h"

namespace trainerd::engine {

// The resolved configuration in a checkpoint.
inline constexpr char kJobConfigName[] = "job_config.yaml";

// Where a checkpoint is written, and what it belongs to.
struct CheckpointTarget {
  std::string run_dir;
  std::string job;      // jobs/{id}
  int32_t attempt = 0;  // fencing token
  // Resource name of the checkpoint that training continued from; "" = none.
  std::string parent;
  // config.json and tokenizer files are copied from here.
  std::string model_folder;
};

// Writes, publishes and verifies <run_dir>/checkpoints/step-…-a…. On success it is durable and was
// read back from the disk. Earlier checkpoints are never touched. Errors: ResourceExhausted with
// the bytes needed and free if the disk is full; FailedPrecondition if a later attempt may publish;
// DataLoss if the bytes read back differ; other errors of the file system. After an error no files
// remain.
absl::StatusOr<v1::Checkpoint> WriteCheckpoint(const CheckpointTarget& target,
                                               const RunState& state,
                                               const ParameterSet& parameters,
                                               Optimizer& optimizer);

// The size of a checkpoint of these parameters in a job with `config` (resolved), and of its final
// model. `model_folder`: as in CheckpointTarget.
CheckpointSize SizeOfCheckpoint(const ParameterSet& parameters, const v1::JobConfig& config,
                                const std::string& model_folder);

// Writes the model as a Hugging Face folder into `writer`: weights in `dtype`, with the adapter
// merged into them if there is one, and the other files of `source`.
absl::Status WriteModelFolder(
    const ParameterSet& parameters, const std::string& source, FolderWriter& writer,
    WriteWeightsOptions::Dtype dtype = WriteWeightsOptions::Dtype::kSource);
// Writes the adapter as a PEFT folder: its weights, the other files of `source`, and
// adapter_config.json that names `base_model`, the folder of the model without it.
absl::Status WriteAdapterFolder(const ParameterSet& parameters, const std::string& source,
                                const std::string& base_model, FolderWriter& writer);

// A checkpoint whose files were verified against its manifest.
struct OpenedCheckpoint {
  std::string folder;
  Manifest manifest;
  RunState state;
};
// Verifies every file and reads state.json. Errors: NotFound; DataLoss naming the file;
// FailedPrecondition for a folder without run state (a final model) or with a newer format.
absl::StatusOr<OpenedCheckpoint> OpenCheckpoint(const std::string& folder);

// The current time, RFC 3339 in UTC.
std::string TimestampText();

}  // namespace trainerd::engine
