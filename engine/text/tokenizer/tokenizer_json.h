// SPDX-License-Identifier: Apache-2.0
// Reading the JSON tree of tokenizer.json: values with defaults, and errors that name the path.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "simdjson.h"

namespace trainerd::engine::tokenizer_json {

// Highest id that a file may use.
constexpr int64_t kMaxTokenId = (int64_t{1} << 24) - 1;
// Highest id allowed in a vocabulary of that many tokens. Tables are as long as the highest id: the
// limit leaves room for gaps, and prevents a small file from allocating gigabytes.
constexpr int64_t LargestIdFor(int64_t num_tokens) {
  return std::min(kMaxTokenId, 2 * num_tokens + 65'535);
}

// InvalidArgument "tokenizer.json PATH: WHAT".
absl::Status Malformed(const std::string& path, std::string_view what);
// Unimplemented, with what is supported.
absl::Status Unsupported(const std::string& path, std::string_view what);

// Whether `key` is missing or null.
bool IsNull(const simdjson::dom::object& o, std::string_view key);
bool BoolOr(const simdjson::dom::object& o, std::string_view key, bool otherwise);
std::string_view StringOr(const simdjson::dom::object& o, std::string_view key,
                          std::string_view otherwise);
absl::StatusOr<simdjson::dom::object> ObjectAt(const simdjson::dom::element& e,
                                               const std::string& path);
absl::StatusOr<int32_t> TokenId(const simdjson::dom::element& e, const std::string& path);

}  // namespace trainerd::engine::tokenizer_json
