// SPDX-License-Identifier: Apache-2.0
// config.json of the model in a GGUF file. No LibTorch.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "engine/formats/gguf/gguf_file.h"
#include "engine/model/gguf/architecture.h"
#include "engine/model/gguf/import_tokenizer.h"

namespace trainerd::engine {

// That of "general.architecture"; valid forever. Errors: Unimplemented names it.
absl::StatusOr<const GgufArchitecture*> ImportedArchitecture(const GgufMetadata& metadata);
// "context_length".
absl::StatusOr<int64_t> ImportedContextLength(const GgufMetadata& metadata);

// The text of config.json. `dtype`: of the weights. Errors: Unimplemented for RoPE scaling that
// config.json cannot express and for numbers that the model would ignore; NotFound and
// InvalidArgument name the key.
absl::StatusOr<std::string> ImportConfig(const GgufFile& file, const ImportedTokenizer& tokenizer,
                                         const std::string& dtype);

}  // namespace trainerd::engine
