// SPDX-License-Identifier: Apache-2.0
// JSON as other programs write it: RFC 8259, and what Python's json.loads reads besides: NaN,
// Infinity, -Infinity, 1e999 and integers of any length. These "odd numbers" fit into no int64,
// uint64 or finite double.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "proto/base/status_macros.h"

namespace trainerd::engine {

// For JSON files of a model folder. An odd number becomes a double: an integer loses digits, 1e999
// becomes infinity. So whoever uses a key checks its value (is_number_integer, std::isfinite), and
// an odd number in an unused key is no error.
// Errors: InvalidArgument "line 3, column 5: syntax error …" with what to do about the file.
absl::StatusOr<nlohmann::json> ParseJson(std::string_view text);
// The same; objects keep the order of their keys.
absl::StatusOr<nlohmann::ordered_json> ParseOrderedJson(std::string_view text);

// `parsed`, what the file at `where` holds, if it is an object. Errors: that of `parsed` after the
// file's name; InvalidArgument for another value.
template <typename Json>
absl::StatusOr<Json> AsJsonObject(absl::StatusOr<Json> parsed, const std::string& where) {
  if (!parsed.ok()) return Annotate(parsed.status(), where);
  if (parsed->is_object()) return parsed;
  return absl::InvalidArgumentError(absl::StrCat(where, ": the file is not a JSON object"));
}

// What to do about a file of a model folder whose whole text is `text` and is not JSON.
std::string JsonFileAdvice(std::string_view text);

// The first error of a text that is not JSON.
struct JsonSyntaxError {
  // 1-based byte of the text; 0 = the text as a whole.
  int64_t column = 0;
  std::string message;
};
// For text in which an odd number must keep its spelling: it becomes a binary value with the bytes
// of the number, which no reader takes for a number. nullopt = *value is set.
std::optional<JsonSyntaxError> ReadJsonWithSpelling(std::string_view text,
                                                    nlohmann::ordered_json* value);
// The same for a JSON file that is changed and written again. Errors: as ParseJson.
absl::StatusOr<nlohmann::ordered_json> ParseJsonWithSpelling(std::string_view text);
// The text of such a value, indented by 2 spaces, with odd numbers as they were spelled.
std::string WriteJsonWithSpelling(const nlohmann::ordered_json& value);

// For simdjson, which refuses odd numbers: a copy of `text` of the same size, where each of them is
// an empty object and spaces, which no reader takes for a number. nullopt = there are none.
std::optional<std::string> WithoutOddNumbers(std::string_view text);

// A value as short text for a message: at most 60 bytes; an odd number as Python writes it.
std::string ShownJson(const nlohmann::json& value);
std::string ShownJson(const nlohmann::ordered_json& value);

}  // namespace trainerd::engine
