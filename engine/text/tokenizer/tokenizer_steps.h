// SPDX-License-Identifier: Apache-2.0
// The steps around the model of tokenizer.json: normalizer, pre-tokenizer and decoder.
#pragma once

#include "absl/status/statusor.h"
#include "engine/text/tokenizer/steps/text_encoder.h"
#include "engine/text/tokenizer/steps/token_decoder.h"
#include "simdjson.h"

namespace trainerd::engine {

// Errors: as ParseTokenizerFile (tokenizer_file.h).
absl::StatusOr<EncoderSteps> ParseEncoderSteps(const simdjson::dom::element& root);
absl::StatusOr<TokenDecoder> ParseDecoder(const simdjson::dom::element& root, bool byte_level);

}  // namespace trainerd::engine
