// SPDX-License-Identifier: Apache-2.0
// Messages as JSON, as trainerd stores and reads it: proto3's mapping with proto field names, the
// words of enum_words.h, NaN and infinity as strings. What scripts read is output_json.h.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "google/protobuf/message.h"

namespace trainerd {

// One line without a newline at its end. Omits absent fields and fields without presence that are
// 0. A message that JSON cannot hold (a Timestamp out of range) gives {"unprintable": "its type"}.
std::string MessageToJsonLine(const google::protobuf::Message& message);
// Errors: InvalidArgument naming what does not fit, unknown fields included.
absl::Status JsonToMessage(const std::string& json, google::protobuf::Message* message);

}  // namespace trainerd
