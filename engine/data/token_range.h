// SPDX-License-Identifier: Apache-2.0
// Whether every token of the examples has a row in the embedding. A tokenizer may have more tokens
// than the embedding has rows; only those that occur matter.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "engine/data/prepare.h"
#include "engine/text/tokenizer/tokenizer.h"

namespace trainerd::engine {

// `rows`: the vocab_size of config.json. Errors: InvalidArgument that names the conversation and
// the token; those of TokenStore::Read. Cost: reads no example unless there is an error.
absl::Status CheckTokenRange(const PreparedData& data, const Tokenizer& tokenizer, int64_t rows);

}  // namespace trainerd::engine
