// SPDX-License-Identifier: Apache-2.0
// The tokenizer of a Hugging Face folder as metadata of a GGUF file. No LibTorch.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "engine/formats/gguf/gguf_writer.h"

namespace trainerd::engine {

// Adds the tokens, merges or scores, special ids and chat templates of `folder`. `rows`: of the
// embedding; rows without a token get unused ones. Errors: those of Tokenizer::Load; Unimplemented
// for a pre-tokenizer that llama.cpp has no name for; InvalidArgument for more tokens than rows.
absl::Status AddTokenizerEntries(const std::string& folder, int64_t rows, GgufEntries& entries);

}  // namespace trainerd::engine
