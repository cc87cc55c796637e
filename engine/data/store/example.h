// SPDX-License-Identifier: Apache-2.0
// A tokenized conversation with its labels, as the token store keeps it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace trainerd::engine {

// Label of a token that carries no loss.
inline constexpr int32_t kIgnoreIndex = -100;

struct TokenExample {
  // 0-based position among the records read, over all files in order.
  int64_t index = 0;
  std::vector<int32_t> ids;
  // As many as ids, unshifted: labels[t] is ids[t] or kIgnoreIndex.
  std::vector<int32_t> labels;
  // As many as ids, or none: the factor of each target's loss, 1 elsewhere. Empty: all are 1.
  std::vector<float> weights;
  // What the template renderer marked for training, after truncation: byte spans, and the tokens
  // that overlap them. masking_check.h compares both with the labels that reach a microbatch.
  int32_t target_spans = 0;
  int32_t span_tokens = 0;

  // The first token is not part of what was marked for training.
  void OmitFirstLabel() {
    if (labels.empty() || labels.front() == kIgnoreIndex) return;
    labels.front() = kIgnoreIndex;
    --span_tokens;
  }

  // Labels that become a target. The first token of a document has no predecessor, so it is never
  // predicted.
  int64_t CountTargets() const {
    int64_t count = 0;
    for (size_t i = 1; i < labels.size(); ++i) count += labels[i] != kIgnoreIndex;
    return count;
  }
};

}  // namespace trainerd::engine
