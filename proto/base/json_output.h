// SPDX-License-Identifier: Apache-2.0
// Messages as JSON the way trainerd prints them: proto field names, one line, NaN and infinity as
// strings.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "google/protobuf/message.h"

namespace trainerd {

// One line without a newline at its end. Absent fields, and fields without presence that are 0, are
// left out. A message that JSON cannot hold (a Timestamp out of range) gives {"unprintable": "its
// type"}.
std::string MessageToJsonLine(const google::protobuf::Message& message);
std::string MessageToJsonPretty(const google::protobuf::Message& message);
// Errors: InvalidArgument naming what does not fit, unknown fields included.
absl::Status JsonToMessage(const std::string& json, google::protobuf::Message* message);

}  // namespace trainerd
