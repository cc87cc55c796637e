// SPDX-License-Identifier: Apache-2.0
// Conversations as trained, out of the lines that `trainerd-inspect preview --json` prints, and
// what every form of showing them (preview_text.h, preview_html.h) has in common.
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace trainerd::client {

// Labels of tokens that carry no loss.
inline constexpr int64_t kNotTrained = -100;

// One conversation: unshifted labels, as many as ids.
struct PreviewItem {
  int64_t example = 0;         // its place in file order, from 0
  std::optional<int64_t> row;  // the packed row that it stands in; absent: shown by itself
  std::string left_out;        // why it is not trained on; "" = it is
  std::vector<int64_t> ids;
  std::vector<int64_t> labels;
};

// "example 4", "row 0, example 4".
std::string ItemTitle(const PreviewItem& item);

// One JSON object a line. Errors of this and the readers below: Internal, naming what
// trainerd-inspect printed that does not fit.
absl::StatusOr<std::vector<nlohmann::json>> ParseJsonLines(const std::string& text);
// Text under `key`; another value as JSON; "" where there is none.
std::string WordOf(const nlohmann::json& row, const char* key);
// Lines of `preview --json`.
absl::StatusOr<std::vector<PreviewItem>> ReadExamples(const std::vector<nlohmann::json>& rows);
// Lines of `preview --packed --json`: the conversations of each row, in their order.
absl::StatusOr<std::vector<PreviewItem>> ReadPackedRows(const std::vector<nlohmann::json>& rows);

struct TrainingCounts {
  int64_t tokens = 0;
  int64_t trained = 0;
  void Add(const PreviewItem& item);
  double trained_share() const;  // 0-1; 0 without tokens
};
TrainingCounts CountTraining(const PreviewItem& item);
// "1,204 tokens, 310 trained (25 %)".
std::string CountsText(const TrainingCounts& counts);

// Tokens [begin, end) of an item that are all trained, or all not.
struct Segment {
  bool trained = false;
  size_t begin = 0;
  size_t end = 0;
};
// Covers all tokens, in order.
std::vector<Segment> SplitByTraining(const PreviewItem& item);

}  // namespace trainerd::client
