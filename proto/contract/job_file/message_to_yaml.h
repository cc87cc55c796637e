// SPDX-License-Identifier: Apache-2.0
// Message → YAML, in the form that yaml_to_proto.h reads.
#pragma once

#include <string>
#include <vector>

#include "google/protobuf/message.h"

namespace trainerd {

// Writes any message with its proto field names in the order of the .proto file, without absent
// fields: job files, and what trainctl -o yaml prints. Bytes are hex digits. If `given` is not
// null, a field whose path it does not contain is marked `# default`. Reading the text back gives
// an equal message if map keys have at most 1,000 bytes.
std::string MessageToYaml(const google::protobuf::Message& message,
                          const std::vector<std::string>* given = nullptr);

}  // namespace trainerd
