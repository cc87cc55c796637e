// SPDX-License-Identifier: Apache-2.0
// The tokenizer of a GGUF file as the files of a Hugging Face folder. No LibTorch.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "engine/formats/gguf/gguf_value.h"

namespace trainerd::engine {

struct ImportedTokenizer {
  // tokenizer.json and tokenizer_config.json, with the chat template.
  std::string tokenizer;
  std::string config;
  int64_t num_tokens = 0;
  std::optional<int64_t> bos, eos, pad;
};

// `max_length`: positions of the model. Errors: Unimplemented names the tokenizer model or the
// pre-tokenizer that is not supported; NotFound and InvalidArgument name the metadata key.
absl::StatusOr<ImportedTokenizer> ImportTokenizer(const GgufMetadata& metadata, int64_t max_length);

}  // namespace trainerd::engine
