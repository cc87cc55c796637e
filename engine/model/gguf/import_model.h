// SPDX-License-Identifier: Apache-2.0
// A GGUF file of llama.cpp as a Hugging Face folder: config.json, generation_config.json, the
// tokenizer's files with the chat template, and model.safetensors. No LibTorch.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "engine/formats/gguf/gguf_file.h"
#include "engine/model/config/model_config.h"

namespace trainerd::engine {

struct ImportedModel {
  // model_type of config.json.
  std::string model_type;
  // Of the stored weights, as in config.json.
  std::string dtype;
  int64_t num_tensors = 0;
  int64_t num_parameters = 0;
};

// Writes the model into `output`, which must not exist; it appears complete or not at all. The
// weights get the dtype of the file's matrices if it is F32 or F16 for all of them, else bfloat16.
// Architectures: those of export_model.h without vision-language models. A window of Mistral, Phi-3
// or SmolLM3 is not in the file: max_position_embeddings is the window then. The norms of Gemma are
// stored as 1 + weight in fp32, so their weights are exact to 2^-24.
// Memory: a part of one tensor beside the tokenizer.
// Errors: those of GgufFile::Open; Unimplemented for another architecture, tokenizer or feature;
// NotFound and InvalidArgument name the file and the key or tensor; AlreadyExists.
absl::StatusOr<ImportedModel> ImportGguf(const std::string& gguf, const std::string& output);

}  // namespace trainerd::engine
