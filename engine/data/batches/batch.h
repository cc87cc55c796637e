// SPDX-License-Identifier: Apache-2.0
// Sequences as the training loop receives them: flat, without padding, documents isolated by
// cu_seqlens.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace trainerd::engine {

// Label of a token that carries no loss.
inline constexpr int32_t kIgnoreIndex = -100;

// One tokenized conversation. labels has the size of ids, unshifted: labels[t] is ids[t] or
// kIgnoreIndex.
struct TokenExample {
  int64_t index = 0;  // 0-based position among the records read, over all files
  std::vector<int32_t> ids;
  std::vector<int32_t> labels;
  // What the template renderer recorded as trained, after truncation: stretches of bytes, and
  // tokens that overlap them. masking_check.h compares them with the labels that reach a
  // microbatch.
  int32_t target_spans = 0;
  int32_t span_tokens = 0;

  // Labels that become a target: the first token of a document has no predecessor to be predicted
  // from.
  int64_t CountTargets() const {
    int64_t count = 0;
    for (size_t i = 1; i < labels.size(); ++i) count += labels[i] != kIgnoreIndex;
    return count;
  }
};

// Several documents (examples), one after another.
// Shapes: ids, labels, positions hold T values; cu_seqlens holds documents + 1 values, from 0 to T.
// targets[t] = label of the NEXT token of the same document (labels shifted left by one inside each
// document; the last token of a document has kIgnoreIndex).
struct Microbatch {
  std::vector<int32_t> ids;
  std::vector<int32_t> labels;
  std::vector<int32_t> targets;
  std::vector<int32_t> positions;  // restart at 0 in each document
  std::vector<int32_t> cu_seqlens{0};
  std::vector<int64_t> examples;  // TokenExample::index of each document
  int64_t target_tokens = 0;      // targets that are not kIgnoreIndex

  int64_t num_tokens() const { return static_cast<int64_t>(ids.size()); }
  int64_t num_documents() const { return static_cast<int64_t>(cu_seqlens.size()) - 1; }
};

}  // namespace trainerd::engine
