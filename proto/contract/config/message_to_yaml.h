// SPDX-License-Identifier: Apache-2.0
// Message → YAML, in the form that yaml_to_proto.h reads.
#pragma once

#include <string>
#include <vector>

#include "google/protobuf/message.h"

namespace trainerd {

// The message as YAML with keys in the order of the .proto file; fields that are absent are left out. Comments each
// default with `# default` when `given` is not null and does not hold the field's path. Reading it
// back gives an equal message, given map keys of at most 1,000 bytes.
std::string MessageToYaml(const google::protobuf::Message& message,
                          const std::vector<std::string>* given = nullptr);

}  // namespace trainerd
