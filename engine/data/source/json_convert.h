// SPDX-License-Identifier: Apache-2.0
// simdjson's document → nlohmann's ordered tree, which the chat template reads.
#pragma once

#include "nlohmann/json.hpp"
#include "simdjson.h"

namespace trainerd::engine {

// Keeps key order and the difference between integers and floats.
nlohmann::ordered_json ToOrderedJson(const simdjson::dom::element& element);

}  // namespace trainerd::engine
