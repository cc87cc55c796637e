// SPDX-License-Identifier: Apache-2.0
#include "engine/data/source/json_convert.h"

namespace trainerd::engine {

using nlohmann::ordered_json;

ordered_json ToOrderedJson(const simdjson::dom::element& element) {
  switch (element.type()) {
    case simdjson::dom::element_type::OBJECT: {
      ordered_json object = ordered_json::object();
      for (const auto& [key, value] : simdjson::dom::object(element)) {
        object[std::string(key)] =
            ToOrderedJson(value);  // a repeated key: the last one counts, as in Python
      }
      return object;
    }
    case simdjson::dom::element_type::ARRAY: {
      ordered_json array = ordered_json::array();
      for (const auto& value : simdjson::dom::array(element)) array.push_back(ToOrderedJson(value));
      return array;
    }
    case simdjson::dom::element_type::STRING:
      return std::string(element.get_string().value_unsafe());
    case simdjson::dom::element_type::INT64:
      return element.get_int64().value_unsafe();
    case simdjson::dom::element_type::UINT64:
      return element.get_uint64().value_unsafe();
    case simdjson::dom::element_type::DOUBLE:
      return element.get_double().value_unsafe();
    case simdjson::dom::element_type::BOOL:
      return element.get_bool().value_unsafe();
    case simdjson::dom::element_type::NULL_VALUE:
      return nullptr;
  }
  return nullptr;
}

}  // namespace trainerd::engine
