// SPDX-License-Identifier: Apache-2.0
// Adapts the JSON of json_output.h, field by field along the message's description: protobuf's own
// conversion has no option for 64-bit numbers or for empty lists alone.
#include "proto/contract/job_file/output_json.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "proto/base/plain_text.h"
#include "proto/base/utf8.h"
#include "proto/contract/config/field_text.h"
#include "proto/contract/config/json_output.h"

namespace trainerd {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using Json = nlohmann::ordered_json;

Json AdaptMessage(const Json& from, const Descriptor& descriptor);

// A whole number that proto3's JSON writes as text.
Json Number(const Json& text) {
  if (!text.is_string()) return text;
  const std::string& digits = text.get_ref<const std::string&>();
  int64_t number = 0;
  if (absl::SimpleAtoi(digits, &number)) return number;
  uint64_t large = 0;
  return absl::SimpleAtoi(digits, &large) ? Json(large) : text;
}

Json AdaptScalar(const Json& from, const FieldDescriptor& field) {
  const auto type = field.cpp_type();
  const bool wide =
      type == FieldDescriptor::CPPTYPE_INT64 || type == FieldDescriptor::CPPTYPE_UINT64;
  if (wide) return Number(from);
  return IsScalarField(field) ? from : AdaptMessage(from, *field.message_type());
}

Json AdaptField(const Json& from, const FieldDescriptor& field) {
  if (field.is_map()) {
    Json map = Json::object();
    for (const auto& [key, value] : from.items())
      map[key] = AdaptScalar(value, *field.message_type()->map_value());
    return map;
  }
  if (!field.is_repeated()) return AdaptScalar(from, field);
  Json list = Json::array();
  for (const Json& element : from) list.push_back(AdaptScalar(element, field));
  return list;
}

Json AdaptMessage(const Json& from, const Descriptor& descriptor) {
  // A message that protobuf writes in a form of its own.
  if (!from.is_object()) return from;
  Json adapted = Json::object();
  for (int i = 0; i < descriptor.field_count(); ++i) {
    const FieldDescriptor& field = *descriptor.field(i);
    const std::string name(field.name());
    const auto value = from.find(name);
    if (value != from.end()) {
      adapted[name] = AdaptField(*value, field);
    } else if (field.is_repeated()) {
      adapted[name] = field.is_map() ? Json::object() : Json::array();
    }
  }
  return adapted;
}

}  // namespace

nlohmann::ordered_json OutputJson(const google::protobuf::Message& message) {
  const Json from = Json::parse(MessageToJsonLine(message), nullptr, /*allow_exceptions=*/false);
  // A message that JSON cannot hold.
  if (!from.is_object() || from.contains("unprintable")) return from;
  return AdaptMessage(from, *message.GetDescriptor());
}

std::string JsonText(const nlohmann::ordered_json& document, bool pretty) {
  return EscapedJson(
      document.dump(pretty ? 1 : -1, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace));
}

std::string EscapedJson(const std::string& json) {
  if (FindInvalidUtf8(json) != std::string::npos) return EscapedJson(ToValidUtf8(json));
  std::string text;
  text.reserve(json.size());
  for (size_t i = 0; i < json.size();) {
    int size = 0;
    const uint32_t code_point = DecodeUtf8(json.data() + i, &size);
    // Outside of texts there is ASCII only, of which the line ends of the pretty form stay.
    if (code_point >= 0x7f && IsControlCharacter(code_point)) {
      absl::StrAppendFormat(&text, "\\u%04x", code_point);
    } else {
      text.append(json, i, size);
    }
    i += size;
  }
  return text;
}

std::string OutputJsonLine(const google::protobuf::Message& message) {
  return JsonText(OutputJson(message), /*pretty=*/false);
}

}  // namespace trainerd
