// SPDX-License-Identifier: Apache-2.0
// What to say about a key that a message does not have.
#pragma once

#include <string>

#include "google/protobuf/descriptor.h"

namespace trainerd {

// `unknown key "lerning_rate" in optimizer; did you mean "learning_rate"?`. `section` is the
// message that lacks the key, at `section_path`; a key that stands elsewhere below `root` is named
// with its path.
std::string UnknownKeyMessage(const std::string& key, const google::protobuf::Descriptor& section,
                              const std::string& section_path,
                              const google::protobuf::Descriptor& root);

}  // namespace trainerd
