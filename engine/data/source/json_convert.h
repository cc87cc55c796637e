// SPDX-License-Identifier: Apache-2.0
// simdjson's document → nlohmann's ordered tree, which the chat template reads; the position of a
// syntax error.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "nlohmann/json.hpp"
#include "simdjson.h"

namespace trainerd::engine {

// Keeps key order and the difference between integers and floats.
nlohmann::ordered_json ToOrderedJson(const simdjson::dom::element& element);

// The error of a line that does not parse. column: 1-based byte.
struct JsonSyntaxError {
  int64_t column = 0;
  std::string message;
};
JsonSyntaxError FindJsonSyntaxError(std::string_view line);

}  // namespace trainerd::engine
