// SPDX-License-Identifier: Apache-2.0
// Messages as JSON for scripts: what `-o json` and `-o jsonl` of trainctl, the events file of
// trainerd-worker and the reports of trainerd-inspect print. As json_output.h, but whole numbers of
// 64 bits are numbers, and empty lists are []. Files that trainerd stores keep the form of
// json_output.h. JsonToMessage reads both.
#pragma once

#include <string>

#include "google/protobuf/message.h"
#include "nlohmann/json.hpp"

namespace trainerd {

// Keys in the order of the .proto file.
nlohmann::ordered_json OutputJson(const google::protobuf::Message& message);

// The text of a document: one line, or indented. Without a newline at its end. Control characters,
// line separators and direction overrides in texts are escaped as \uXXXX.
std::string JsonText(const nlohmann::ordered_json& document, bool pretty);

// JSON with what JsonText escapes escaped. Outside of texts, only line ends may be such.
std::string EscapedJson(const std::string& json);

// OutputJson as one line.
std::string OutputJsonLine(const google::protobuf::Message& message);

}  // namespace trainerd
