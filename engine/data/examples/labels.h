// SPDX-License-Identifier: Apache-2.0
// Target spans (bytes of the rendered text) → labels of tokens.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/data/store/example.h"
#include "engine/text/chat_template.h"
#include "engine/text/target_spans.h"
#include "engine/text/tokenizer/tokenizer.h"

namespace trainerd::engine {

// Fills in ids, labels, target_spans and span_tokens of *example from the first `max_tokens`
// tokens: a token that overlaps a span is a target. Spans are in order and do not overlap; adjacent
// spans count as one. Cost: O(tokens + spans log tokens).
void LabelTokens(const Encoding& encoding, const std::vector<TextSpan>& spans, int64_t max_tokens,
                 TokenExample* example);

// Fills in the weights of *example, which LabelTokens has labelled with the same encoding and
// spans: a target has the weight of its first byte in a span.
void WeighTokens(const Encoding& encoding, const std::vector<TextSpan>& spans,
                 const std::vector<WeightedSpan>& weights, TokenExample* example);

}  // namespace trainerd::engine
