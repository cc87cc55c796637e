// SPDX-License-Identifier: Apache-2.0
// The values of enums as users write and read them, in YAML, JSON, messages and the digest. Values
// of the enums of configuration files are words: DataConfig::PACKING_BFD_SPLIT is `bfd_split`.
// Values of all other enums are their proto names: RUNNING.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "google/protobuf/descriptor.h"
#include "google/protobuf/generated_enum_reflection.h"

namespace trainerd {

// The word or name of `value`; "" for X_UNSPECIFIED of a configuration enum.
std::string EnumText(const google::protobuf::EnumValueDescriptor& value);

// The same for a generated enum; decimal digits for a number that the enum does not have.
std::string EnumText(const google::protobuf::EnumDescriptor& type, int number);
template <typename Enum>
std::string EnumText(Enum value) {
  return EnumText(*google::protobuf::GetEnumDescriptor<Enum>(), value);
}

// The value whose EnumText is `text`; null if there is none.
const google::protobuf::EnumValueDescriptor* FindEnumText(
    const google::protobuf::EnumDescriptor& type, std::string_view text);

// The texts that FindEnumText knows, in the order of the .proto file.
std::vector<std::string> EnumTexts(const google::protobuf::EnumDescriptor& type);

// `"bdf" is not one of none, bfd, bfd_split; did you mean "bfd"?`
std::string NoSuchEnumText(const google::protobuf::EnumDescriptor& type, const std::string& text);

}  // namespace trainerd
