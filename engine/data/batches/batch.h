// SPDX-License-Identifier: Apache-2.0
// Sequences as the training loop receives them: flat, without padding, documents isolated by
// cu_seqlens.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/data/store/example.h"

namespace trainerd::engine {

// Several documents (examples), one after another.
// Shapes: ids, labels, positions, weights hold T values; cu_seqlens holds documents + 1 values,
// from 0 to T.
// targets[t] = label of the NEXT token of the same document (labels shifted left by one inside each
// document; the last token of a document has kIgnoreIndex).
// With is_pairs, documents 2i and 2i+1 are the chosen and the rejected answer of a pair.
struct Microbatch {
  std::vector<int32_t> ids;
  std::vector<int32_t> labels;
  std::vector<int32_t> targets;
  // Factors of the targets' losses. Empty: all are 1.
  std::vector<float> weights;
  std::vector<int32_t> positions;  // restart at 0 in each document
  std::vector<int32_t> cu_seqlens{0};
  std::vector<int64_t> examples;  // TokenExample::index of each document
  int64_t target_tokens = 0;      // targets that are not kIgnoreIndex
  bool is_pairs = false;

  int64_t num_tokens() const { return static_cast<int64_t>(ids.size()); }
  int64_t num_documents() const { return static_cast<int64_t>(cu_seqlens.size()) - 1; }
};

}  // namespace trainerd::engine
