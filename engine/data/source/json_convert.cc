// SPDX-License-Identifier: Apache-2.0
#include "engine/data/source/json_convert.h"

#include <utility>

namespace trainerd::engine {
namespace {

using nlohmann::ordered_json;

// Accepts everything; remembers where reading stopped.
class ErrorPlace : public nlohmann::json_sax<ordered_json> {
 public:
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_object(std::size_t) override { return true; }
  bool key(string_t&) override { return true; }
  bool end_object() override { return true; }
  bool start_array(std::size_t) override { return true; }
  bool end_array() override { return true; }
  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception& error) override {
    column = static_cast<int64_t>(position);
    message = error.what();
    return false;
  }

  int64_t column = 0;
  std::string message;
};

// "[json.exception.parse_error.101] parse error at line 1, column 5: syntax error while …" → from
// "syntax error" on.
std::string WithoutPrefix(std::string message) {
  const size_t place = message.find(", column ");
  const size_t colon = place == std::string::npos ? place : message.find(": ", place);
  return colon == std::string::npos ? message : message.substr(colon + 2);
}

}  // namespace

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

JsonSyntaxError FindJsonSyntaxError(std::string_view line) {
  ErrorPlace place;
  ordered_json::sax_parse(line.begin(), line.end(), &place);
  return {.column = place.column, .message = WithoutPrefix(std::move(place.message))};
}

}  // namespace trainerd::engine
