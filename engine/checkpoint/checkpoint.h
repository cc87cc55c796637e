// SPDX-License-Identifier: Apache-2.0
// A checkpoint folder: model.safetensors in the source's dtype, config.json and tokenizer files (so
// that Hugging Face tools load it), job_config.yaml, optimizer.safetensors, state.json,
// MANIFEST.json. Written by FolderWriter: it is there complete or not at all.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "engine/checkpoint/folder_writer.h"
#include "engine/checkpoint/run_state.h"
#include "engine/model/parameters.h"
#include "engine/optim/adamw.h"
#include "proto/contract/run_dir/manifest.h"
#include "trainerd/v1/checkpoint.pb.h"

namespace trainerd::engine {

// Where a checkpoint goes and what it belongs to.
struct CheckpointTarget {
  std::string run_dir;
  std::string job;            // jobs/{id}
  int32_t attempt = 0;        // fencing token
  std::string parent;         // resource name of the checkpoint before it; "" = none
  std::string model_folder;   // config.json and tokenizer files are copied from here
  std::string chat_template;  // written as chat_template.jinja in place of the model's own; "" =
                              // the model's own
};

// Writes, publishes and verifies <run_dir>/checkpoints/step-…-a…; at success it is durable and was
// read back from the disk. Earlier checkpoints are never touched. Errors: ResourceExhausted with
// bytes needed and free when the disk is full; FailedPrecondition when another attempt may publish
// now; DataLoss when what was read back differs; other errors of the file system. Nothing is left
// behind.
absl::StatusOr<v1::Checkpoint> WriteCheckpoint(const CheckpointTarget& target,
                                               const RunState& state,
                                               const ParameterSet& parameters, AdamW& optimizer);

// Writes the model as a Hugging Face folder into `writer`: weights in the source's dtype, and what
// `source` has beside its weights. `chat_template`: as CheckpointTarget.
absl::Status WriteModelFolder(const ParameterSet& parameters, const std::string& source,
                              const std::string& chat_template, FolderWriter& writer);

// ResourceExhausted with both numbers when fewer than `needed` bytes are free in `folder`: a full
// disk is found before gigabytes are written.
absl::Status CheckSpace(const std::string& folder, int64_t needed);

// What is known of a folder by its manifest; `verified` as given.
absl::StatusOr<v1::Checkpoint> DescribeCheckpoint(const std::string& folder,
                                                  const Manifest& manifest, const std::string& name,
                                                  bool verified);

// A checkpoint that was read back through its manifest.
struct OpenedCheckpoint {
  std::string folder;
  Manifest manifest;
  RunState state;
};
// Verifies every file and reads state.json. Errors: NotFound; DataLoss naming the file;
// FailedPrecondition for a folder without run state (a final model) or of a newer format.
absl::StatusOr<OpenedCheckpoint> OpenCheckpoint(const std::string& folder);

// RFC 3339 in UTC, now.
std::string TimestampText();

}  // namespace trainerd::engine
