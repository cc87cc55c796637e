// SPDX-License-Identifier: Apache-2.0
#include "client/preview/preview_items.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/view/format.h"
#include "proto/base/status_macros.h"

namespace trainerd::client {
namespace {

using nlohmann::json;

// A list of whole numbers under `key`.
absl::StatusOr<std::vector<int64_t>> Numbers(const json& row, const char* key) {
  const auto found = row.find(key);
  if (found == row.end() || !found->is_array())
    return absl::InternalError(
        absl::StrCat("trainerd-inspect printed a row without a list \"", key, "\""));
  std::vector<int64_t> numbers;
  for (const json& number : *found) {
    if (!number.is_number_integer())
      return absl::InternalError(
          absl::StrCat("trainerd-inspect printed other than whole numbers in \"", key, "\""));
    numbers.push_back(number.get<int64_t>());
  }
  return numbers;
}

absl::StatusOr<int64_t> Number(const json& row, const char* key) {
  const auto found = row.find(key);
  if (found == row.end() || !found->is_number_integer())
    return absl::InternalError(
        absl::StrCat("trainerd-inspect printed a row without a whole number \"", key, "\""));
  return found->get<int64_t>();
}

absl::Status ListsDoNotFit(const char* what, int64_t number) {
  return absl::InternalError(absl::StrCat("trainerd-inspect printed ", what, " ", number,
                                          " with lists that do not fit together"));
}

bool IsTrained(const PreviewItem& item, size_t token) { return item.labels[token] != kNotTrained; }

}  // namespace

std::string ItemTitle(const PreviewItem& item) {
  const std::string example = absl::StrCat("example ", item.example);
  return item.row.has_value() ? absl::StrCat("row ", *item.row, ", ", example) : example;
}

absl::StatusOr<std::vector<json>> ParseJsonLines(const std::string& text) {
  std::vector<json> rows;
  for (absl::string_view line : absl::StrSplit(text, '\n', absl::SkipWhitespace())) {
    json row = json::parse(line.begin(), line.end(), nullptr, /*allow_exceptions=*/false);
    if (!row.is_object())
      return absl::InternalError(absl::StrCat(
          "trainerd-inspect printed what is not a JSON object: ", line.substr(0, 200)));
    rows.push_back(std::move(row));
  }
  return rows;
}

std::string WordOf(const json& row, const char* key) {
  const auto found = row.find(key);
  if (found == row.end()) return "";
  return found->is_string() ? found->get<std::string>() : found->dump();
}

absl::StatusOr<std::vector<PreviewItem>> ReadExamples(const std::vector<json>& rows) {
  std::vector<PreviewItem> items;
  for (const json& row : rows) {
    PreviewItem item{.left_out = WordOf(row, "left_out")};
    ASSIGN_OR_RETURN(item.example, Number(row, "index"));
    ASSIGN_OR_RETURN(item.ids, Numbers(row, "ids"));
    ASSIGN_OR_RETURN(item.labels, Numbers(row, "labels"));
    if (item.ids.size() != item.labels.size()) return ListsDoNotFit("example", item.example);
    items.push_back(std::move(item));
  }
  return items;
}

absl::StatusOr<std::vector<PreviewItem>> ReadPackedRows(const std::vector<json>& rows) {
  std::vector<PreviewItem> items;
  for (const json& row : rows) {
    ASSIGN_OR_RETURN(const int64_t number, Number(row, "row"));
    ASSIGN_OR_RETURN(const std::vector<int64_t> ids, Numbers(row, "ids"));
    ASSIGN_OR_RETURN(const std::vector<int64_t> labels, Numbers(row, "labels"));
    ASSIGN_OR_RETURN(const std::vector<int64_t> bounds, Numbers(row, "cu_seqlens"));
    ASSIGN_OR_RETURN(const std::vector<int64_t> indices, Numbers(row, "index"));
    if (ids.size() != labels.size() || bounds.size() != indices.size() + 1)
      return ListsDoNotFit("packed row", number);
    for (size_t k = 0; k < indices.size(); ++k) {
      const int64_t begin = bounds[k];
      const int64_t end = bounds[k + 1];
      if (begin < 0 || end < begin || end > static_cast<int64_t>(ids.size()))
        return ListsDoNotFit("packed row", number);
      items.push_back({.example = indices[k],
                       .row = number,
                       .ids = {ids.begin() + begin, ids.begin() + end},
                       .labels = {labels.begin() + begin, labels.begin() + end}});
    }
  }
  return items;
}

void TrainingCounts::Add(const PreviewItem& item) {
  tokens += static_cast<int64_t>(item.ids.size());
  for (size_t i = 0; i < item.ids.size(); ++i) trained += IsTrained(item, i) ? 1 : 0;
}

double TrainingCounts::trained_share() const {
  return tokens == 0 ? 0 : static_cast<double>(trained) / static_cast<double>(tokens);
}

TrainingCounts CountTraining(const PreviewItem& item) {
  TrainingCounts counts;
  counts.Add(item);
  return counts;
}

std::string CountsText(const TrainingCounts& counts) {
  return absl::StrCat(FormatCount(counts.tokens), " tokens, ", FormatCount(counts.trained),
                      " trained (", FormatPercent(counts.trained_share()), ")");
}

std::vector<Segment> SplitByTraining(const PreviewItem& item) {
  std::vector<Segment> segments;
  for (size_t i = 0; i < item.ids.size(); ++i) {
    const bool trained = IsTrained(item, i);
    if (segments.empty() || segments.back().trained != trained)
      segments.push_back({.trained = trained, .begin = i});
    segments.back().end = i + 1;
  }
  return segments;
}

}  // namespace trainerd::client
