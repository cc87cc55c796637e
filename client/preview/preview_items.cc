// SPDX-License-Identifier: Apache-2.0
#include "client/preview/preview_items.h"

#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
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

// The number under `key`; 0 if there is none.
absl::StatusOr<int64_t> NumberOrZero(const json& row, const char* key) {
  return row.contains(key) ? Number(row, key) : 0;
}

// The list under `key`; empty if there is none.
absl::StatusOr<std::vector<int64_t>> NumbersOrNone(const json& row, const char* key) {
  return row.contains(key) ? Numbers(row, key) : std::vector<int64_t>();
}

// The numbers under "weights", one for each of `count` tokens; empty if there are none.
absl::StatusOr<std::vector<double>> Weights(const json& row, size_t count) {
  const auto found = row.find("weights");
  if (found == row.end()) return std::vector<double>();
  std::vector<double> weights;
  const bool is_list = found->is_array() && found->size() == count;
  for (size_t i = 0; is_list && i < count && (*found)[i].is_number(); ++i)
    weights.push_back((*found)[i].get<double>());
  if (weights.size() != count || !is_list)
    return absl::InternalError("trainerd-inspect printed a row without one weight per token");
  return weights;
}

absl::Status ListsDoNotFit(const char* what, int64_t number) {
  return absl::InternalError(absl::StrCat("trainerd-inspect printed ", what, " ", number,
                                          " with lists that do not fit together"));
}

// The texts of tokens [begin, end) of a line with `num_tokens` tokens.
absl::StatusOr<std::vector<TokenText>> Texts(const json& row, size_t num_tokens, size_t begin,
                                             size_t end) {
  const auto tokens = row.find("tokens");
  if (tokens == row.end() || !tokens->is_array() || tokens->size() != num_tokens)
    return absl::InternalError("trainerd-inspect printed a row without one text per token");
  std::set<int64_t> special;
  if (row.contains("special")) {
    ASSIGN_OR_RETURN(const std::vector<int64_t> positions, Numbers(row, "special"));
    special.insert(positions.begin(), positions.end());
  }
  std::vector<TokenText> texts;
  for (size_t i = begin; i < end; ++i) {
    const json& token = (*tokens)[i];
    if (token.is_string()) {
      texts.push_back({.begin = i - begin, .text = token.get<std::string>()});
    } else if (!token.is_null() || texts.empty()) {
      return absl::InternalError("trainerd-inspect printed other than texts in \"tokens\"");
    }
    texts.back().end = i - begin + 1;
    texts.back().special |= special.count(static_cast<int64_t>(i)) > 0;
  }
  return texts;
}

// Text under `key`; "" if there is none.
std::string WordOf(const json& row, const char* key) {
  const auto found = row.find(key);
  return found == row.end() || !found->is_string() ? "" : found->get<std::string>();
}

// What one text of an example, or of a pair, consists of.
absl::Status ReadTokens(const json& row, PreviewItem* item) {
  ASSIGN_OR_RETURN(item->ids, Numbers(row, "ids"));
  ASSIGN_OR_RETURN(item->labels, Numbers(row, "labels"));
  if (item->ids.size() != item->labels.size()) return ListsDoNotFit("example", item->example);
  ASSIGN_OR_RETURN(item->weights, Weights(row, item->ids.size()));
  ASSIGN_OR_RETURN(item->texts, Texts(row, item->ids.size(), 0, item->ids.size()));
  ASSIGN_OR_RETURN(item->cuts, NumbersOrNone(row, "cuts"));
  ASSIGN_OR_RETURN(item->cut_tokens, NumberOrZero(row, "cut_tokens"));
  return absl::OkStatus();
}

// Which answer document `k` of a packed row ends with.
std::string AnswerOf(const json& row, size_t k) {
  if (!row.contains("pairs")) return "";
  return k % 2 == 0 ? kChosenAnswer : kRejectedAnswer;
}

}  // namespace

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

absl::StatusOr<std::vector<PreviewItem>> ReadExamples(const std::vector<json>& rows) {
  std::vector<PreviewItem> items;
  for (const json& row : rows) {
    PreviewItem item{.left_out = WordOf(row, "left_out")};
    ASSIGN_OR_RETURN(item.example, Number(row, "index"));
    const auto rejected = row.find("rejected");
    if (rejected == row.end()) {
      RETURN_IF_ERROR(ReadTokens(row, &item));
      items.push_back(std::move(item));
      continue;
    }
    PreviewItem second = item;
    item.answer = kChosenAnswer;
    second.answer = kRejectedAnswer;
    RETURN_IF_ERROR(ReadTokens(row, &item));
    RETURN_IF_ERROR(ReadTokens(*rejected, &second));
    items.push_back(std::move(item));
    items.push_back(std::move(second));
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
    ASSIGN_OR_RETURN(const std::vector<int64_t> cut_tokens, NumbersOrNone(row, "cut_tokens"));
    ASSIGN_OR_RETURN(const std::vector<double> weights, Weights(row, ids.size()));
    if (ids.size() != labels.size() || bounds.size() != indices.size() + 1 ||
        (!cut_tokens.empty() && cut_tokens.size() != indices.size()))
      return ListsDoNotFit("packed row", number);
    for (size_t k = 0; k < indices.size(); ++k) {
      const int64_t begin = bounds[k];
      const int64_t end = bounds[k + 1];
      if (begin < 0 || end < begin || end > static_cast<int64_t>(ids.size()))
        return ListsDoNotFit("packed row", number);
      PreviewItem item{.example = indices[k],
                       .answer = AnswerOf(row, k),
                       .row = number,
                       .ids = {ids.begin() + begin, ids.begin() + end},
                       .labels = {labels.begin() + begin, labels.begin() + end},
                       .cut_tokens = cut_tokens.empty() ? 0 : cut_tokens[k]};
      if (!weights.empty()) item.weights = {weights.begin() + begin, weights.begin() + end};
      ASSIGN_OR_RETURN(item.texts, Texts(row, ids.size(), begin, end));
      items.push_back(std::move(item));
    }
  }
  return items;
}

}  // namespace trainerd::client
