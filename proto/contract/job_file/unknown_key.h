// SPDX-License-Identifier: Apache-2.0
// What to say about a key that a message does not have.
#pragma once

#include <string>

#include "google/protobuf/descriptor.h"

namespace trainerd {

struct UnknownKey {
  std::string key;
  // The message that lacks the key, at `section_path`.
  const google::protobuf::Descriptor& section;
  std::string section_path;
  // The configuration that the section belongs to.
  const google::protobuf::Descriptor& root;
};

// `unknown key "lerning_rate" in optimizer; did you mean "learning_rate"?`. A key of another
// section is named with its path. In a job file, a key of another tool is answered with
// foreign_keys.h. Without such advice, the keys of the section follow if `list_keys`; *listed
// returns whether they did.
std::string UnknownKeyMessage(const UnknownKey& unknown, bool list_keys, bool* listed);

}  // namespace trainerd
