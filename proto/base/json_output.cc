// SPDX-License-Identifier: Apache-2.0
#include "proto/base/json_output.h"

#include "absl/strings/str_cat.h"
#include "google/protobuf/util/json_util.h"

namespace trainerd {
namespace {

std::string ToJson(const google::protobuf::Message& message, bool pretty) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = false;
  options.add_whitespace = pretty;
  std::string json;
  if (google::protobuf::util::MessageToJsonString(message, &json, options).ok()) return json;
  // Reached only for a time outside of the years 1 to 9999, which a broken peer may send.
  return absl::StrCat("{\"unprintable\":\"", message.GetTypeName(), "\"}");
}

}  // namespace

std::string MessageToJsonLine(const google::protobuf::Message& message) {
  return ToJson(message, /*pretty=*/false);
}

std::string MessageToJsonPretty(const google::protobuf::Message& message) {
  return ToJson(message, /*pretty=*/true);
}

absl::Status JsonToMessage(const std::string& json, google::protobuf::Message* message) {
  const auto status = google::protobuf::util::JsonStringToMessage(json, message);
  if (status.ok()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("JSON does not fit ", message->GetTypeName(), ": ",
                                                 std::string(status.message())));
}

}  // namespace trainerd
