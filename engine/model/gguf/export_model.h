// SPDX-License-Identifier: Apache-2.0
// A Hugging Face folder as a GGUF file for llama.cpp. No LibTorch.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/formats/gguf/gguf_type.h"

namespace trainerd::engine {

struct GgufExport {
  // F32, BF16 or Q8_0: of the matrices. Vectors and routers of experts are F32. A matrix whose rows
  // are no multiple of 32 is BF16 instead of Q8_0.
  GgufType type = GgufType::kBF16;
  // "general.name".
  std::string name;
};

// The type of "f32", "bf16" or "q8_0". Errors: InvalidArgument.
absl::StatusOr<GgufType> GgufTypeOf(std::string_view name);

// Writes the model of `folder`, with its tokenizer, to the file `path`, which must not exist, and
// fsyncs it. Of a vision-language model it is the language model, without the vision part, which
// llama.cpp reads from another file. Memory: a part of one tensor beside the tokenizer.
// Errors: those of HfFolder and Tokenizer::Load; Unimplemented for a family, a feature of it or a
// pre-tokenizer that llama.cpp does not have.
absl::Status WriteGguf(const std::string& folder, const std::string& path,
                       const GgufExport& options);

}  // namespace trainerd::engine
