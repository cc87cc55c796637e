// SPDX-License-Identifier: Apache-2.0
// Rows of token ids with labels as text in which the trained part is marked.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace trainerd::client {

// Labels of tokens that carry no loss.
inline constexpr int64_t kNotTrained = -100;

// One conversation: unshifted labels, as many as ids.
struct PreviewItem {
  std::string title;
  std::vector<int64_t> ids;
  std::vector<int64_t> labels;
};

// A run of tokens that are all trained, or all not.
struct Segment {
  bool trained = false;
  std::vector<int64_t> ids;
};
std::vector<Segment> SplitByTraining(const PreviewItem& item);

// Token ids → text, one text for each list.
using DecodeTexts = std::function<absl::StatusOr<std::vector<std::string>>(
    const std::vector<std::vector<int64_t>>&)>;

// For each item a title line with its counts and the text; the trained part is green with `color`,
// in [[ ]] without.
absl::StatusOr<std::string> RenderPreview(const std::vector<PreviewItem>& items,
                                          const DecodeTexts& decode, bool color);

}  // namespace trainerd::client
