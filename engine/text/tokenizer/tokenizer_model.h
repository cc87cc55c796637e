// SPDX-License-Identifier: Apache-2.0
// The "model" of tokenizer.json: vocabulary and merges.
#pragma once

#include "absl/status/status.h"
#include "engine/text/tokenizer/bpe/bpe.h"
#include "engine/text/tokenizer/vocabulary.h"
#include "simdjson.h"

namespace trainerd::engine {

// Fills both from `root`["model"]. `vocabulary` is empty, and knows whether words are made of bytes
// or of characters. `bpe` holds views into it.
// Errors: as ParseTokenizerFile (tokenizer_file.h).
absl::Status ParseTokenizerModel(const simdjson::dom::element& root, Vocabulary* vocabulary,
                                 Bpe::Options* bpe);

}  // namespace trainerd::engine
