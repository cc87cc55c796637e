// SPDX-License-Identifier: Apache-2.0
#include "engine/text/tokenizer/beyond_embedding.h"

#include "absl/strings/str_cat.h"

namespace trainerd::engine {

std::string BeyondEmbeddingText(const Tokenizer& tokenizer, int32_t id, int64_t rows) {
  return absl::StrCat("the token \"", std::string(tokenizer.IdToToken(id)), "\" (id ", id,
                      "), which has no row in the embedding of ", rows,
                      " rows; use the tokenizer that belongs to the model, or add the rows to the "
                      "model (resize_token_embeddings in transformers)");
}

}  // namespace trainerd::engine
