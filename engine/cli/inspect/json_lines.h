// SPDX-License-Identifier: Apache-2.0
// Small pieces of JSON text for the lines that trainerd-inspect prints.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace trainerd::engine {

// Appends `text` as a JSON string with its quotes; bytes that are not UTF-8 become U+FFFD.
void AppendJsonString(std::string_view text, std::string* out);

// Appends [1,2,3].
template <typename Int>
void AppendJsonInts(const std::vector<Int>& values, std::string* out) {
  out->push_back('[');
  for (size_t i = 0; i < values.size(); ++i) {
    if (i > 0) out->push_back(',');
    out->append(std::to_string(values[i]));
  }
  out->push_back(']');
}

// Appends [1,0.5], the shortest digits that read back as the same numbers.
void AppendJsonFloats(const std::vector<float>& values, std::string* out);

}  // namespace trainerd::engine
