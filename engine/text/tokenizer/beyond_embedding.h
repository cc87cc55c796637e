// SPDX-License-Identifier: Apache-2.0
// The message for a token without a row in the embedding.
#pragma once

#include <cstdint>
#include <string>

#include "engine/text/tokenizer/tokenizer.h"

namespace trainerd::engine {

// `the token "<x>" (id 503), which has no row in the embedding …` and what to do. `rows` is the
// vocab_size of config.json.
std::string BeyondEmbeddingText(const Tokenizer& tokenizer, int32_t id, int64_t rows);

}  // namespace trainerd::engine
