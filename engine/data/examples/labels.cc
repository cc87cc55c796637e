// SPDX-License-Identifier: Apache-2.0
#include "engine/data/examples/labels.h"

#include <algorithm>
#include <utility>

namespace trainerd::engine {
namespace {

std::vector<TextSpan> MergeTouching(const std::vector<TextSpan>& spans) {
  std::vector<TextSpan> merged;
  for (const TextSpan& span : spans) {
    if (span.begin >= span.end) continue;
    if (!merged.empty() && span.begin <= merged.back().end) {
      merged.back().end = std::max(merged.back().end, span.end);
    } else {
      merged.push_back(span);
    }
  }
  return merged;
}

// Counts by searching each span's tokens, so that masking_check.cc compares two different ways of
// getting there.
void CountSpans(const Encoding& encoding, const std::vector<TextSpan>& spans, size_t size,
                TokenExample* example) {
  const auto end_of_kept = encoding.end.begin() + static_cast<std::ptrdiff_t>(size);
  const auto begin_of_kept = encoding.begin.begin() + static_cast<std::ptrdiff_t>(size);
  size_t counted = 0;  // tokens before this one are counted already
  for (const TextSpan& span : spans) {
    const size_t first = static_cast<size_t>(
        std::upper_bound(encoding.end.begin(), end_of_kept, span.begin) - encoding.end.begin());
    const size_t last = static_cast<size_t>(
        std::lower_bound(encoding.begin.begin(), begin_of_kept, span.end) - encoding.begin.begin());
    if (first >= last) continue;
    ++example->target_spans;
    example->span_tokens += static_cast<int32_t>(last - std::min(last, std::max(first, counted)));
    counted = std::max(counted, last);
  }
}

// The first span that ends behind `byte`. Searched, because NFC can reorder offsets.
template <typename Span>
typename std::vector<Span>::const_iterator FirstBehind(const std::vector<Span>& spans,
                                                       uint32_t byte) {
  return std::partition_point(spans.begin(), spans.end(),
                              [byte](const Span& span) { return span.end <= byte; });
}

}  // namespace

void LabelTokens(const Encoding& encoding, const std::vector<TextSpan>& spans, int64_t max_tokens,
                 TokenExample* example) {
  const size_t size = std::min(encoding.ids.size(), static_cast<size_t>(max_tokens));
  const std::vector<TextSpan> merged = MergeTouching(spans);
  example->ids.assign(encoding.ids.begin(),
                      encoding.ids.begin() + static_cast<std::ptrdiff_t>(size));
  example->labels.assign(size, kIgnoreIndex);
  size_t span = 0;
  for (size_t i = 0; i < size && span < merged.size(); ++i) {
    while (span < merged.size() && merged[span].end <= encoding.begin[i]) ++span;
    if (span < merged.size() && merged[span].begin < encoding.end[i] &&
        encoding.begin[i] < encoding.end[i]) {
      example->labels[i] = encoding.ids[i];
    }
  }
  example->target_spans = 0;
  example->span_tokens = 0;
  CountSpans(encoding, merged, size, example);
}

void WeighTokens(const Encoding& encoding, const std::vector<TextSpan>& spans,
                 const std::vector<WeightedSpan>& weights, TokenExample* example) {
  const std::vector<TextSpan> merged = MergeTouching(spans);
  std::vector<float> result(example->ids.size(), 1.0f);
  bool is_weighted = false;
  for (size_t i = 0; i < result.size(); ++i) {
    if (example->labels[i] == kIgnoreIndex) continue;
    const auto span = FirstBehind(merged, encoding.begin[i]);
    if (span == merged.end()) continue;
    const uint32_t byte = std::max(encoding.begin[i], span->begin);
    const auto weight = FirstBehind(weights, byte);
    if (weight == weights.end() || weight->begin > byte) continue;
    result[i] = weight->weight;
    is_weighted = true;
  }
  example->weights = is_weighted ? std::move(result) : std::vector<float>();
}

}  // namespace trainerd::engine
