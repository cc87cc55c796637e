// SPDX-License-Identifier: Apache-2.0
// Messages as JSON: the proto3 mapping with proto field names. NaN and infinity are therefore
// strings.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "google/protobuf/message.h"

namespace trainerd {

// One line, without a newline at the end. Omits absent fields, and fields without presence that are
// 0. A message that JSON cannot represent (a Timestamp out of range) becomes {"unprintable": "its
// type"}.
std::string MessageToJsonLine(const google::protobuf::Message& message);
std::string MessageToJsonPretty(const google::protobuf::Message& message);
// Errors: InvalidArgument with the field that does not fit, or that is unknown.
absl::Status JsonToMessage(const std::string& json, google::protobuf::Message* message);

}  // namespace trainerd
