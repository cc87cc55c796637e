// SPDX-License-Identifier: Apache-2.0
// `trainerd-worker export`: a trained model in the form that another program reads.
#pragma once

#include <string>

#include "absl/status/status.h"

namespace trainerd::engine {

struct ExportOptions {
  // final/ or a checkpoint of a job; for merged and gguf also another Hugging Face or PEFT folder.
  std::string model_folder;
  // Must not exist: a folder, or with gguf a file.
  std::string output;
  // hf | merged | adapter | gguf
  std::string form;
  // Of gguf: f32 | bf16 | q8_0; "" = bf16.
  std::string type;
};

// Writes the output, which appears complete or not at all. hf and adapter copy the files of a whole
// model or an adapter, without the state of the training; merged adds the adapter to the weights of
// its model in full precision, also if the job quantized them (engine/README.md, QLoRA); gguf
// writes a file for llama.cpp, with the adapter merged if there is one.
// Errors: InvalidArgument for an unknown form or type, or a form that the folder cannot have;
// AlreadyExists; DataLoss for a file that differs from the manifest; those of WriteGguf,
// OpenWholeModel and the file system.
absl::Status ExportModel(const ExportOptions& options);

// Exit code: 0 done, 2 for what the user can change, else 1.
int RunExportCommand(const ExportOptions& options);

}  // namespace trainerd::engine
