// SPDX-License-Identifier: Apache-2.0
#include "engine/data/token_range.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/text/tokenizer/beyond_embedding.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {

absl::Status CheckTokenRange(const PreparedData& data, const Tokenizer& tokenizer, int64_t rows) {
  const internal::TokenSetSummary& summary = data.store->summary();
  if (std::max(summary.train().largest_id(), summary.validation().largest_id()) < rows)
    return absl::OkStatus();
  for (const std::vector<uint32_t>* examples : {&data.train, &data.validation}) {
    for (const uint32_t number : *examples) {
      ASSIGN_OR_RETURN(const TokenExample example, data.store->Read(number));
      const auto largest = std::max_element(example.ids.begin(), example.ids.end());
      if (largest == example.ids.end() || *largest < rows) continue;
      return absl::InvalidArgumentError(
          absl::StrCat("conversation ", example.index, " (counted from 0) contains ",
                       BeyondEmbeddingText(tokenizer, *largest, rows)));
    }
  }
  return absl::OkStatus();
}

}  // namespace trainerd::engine
