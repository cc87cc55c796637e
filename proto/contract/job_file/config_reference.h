// SPDX-License-Identifier: Apache-2.0
// The printed reference of every configuration key, made from the messages, their knob options and
// the comments of the .proto files.
#pragma once

#include <string>

#include "google/protobuf/descriptor.h"

namespace trainerd {

// The reference that `trainctl config reference` prints: key, kind, range, unit, default and
// meaning; the job file first, then the daemon's settings.
std::string ConfigReference();
// The second half of it.
std::string DaemonSettingsReference();

// The comment in front of a field or message in its .proto file, as one line; "" when it has none
// or belongs to no configuration file.
std::string CommentOf(const google::protobuf::FieldDescriptor& field);
std::string CommentOf(const google::protobuf::Descriptor& message);

}  // namespace trainerd
