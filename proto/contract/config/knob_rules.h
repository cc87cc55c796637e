// SPDX-License-Identifier: Apache-2.0
// What follows from the knob options alone, for any configuration message: defaults, required
// fields, ranges and choices.
#pragma once

#include <string>
#include <vector>

#include "google/protobuf/message.h"
#include "proto/contract/config/config_violation.h"

namespace trainerd {

// Fills in the default of each absent field that applies (knob.only_with), groups that are absent
// included, except those whose absence means something (knob.optional_group). Clears a field that
// does not apply and holds its default.
void ApplyDefaults(google::protobuf::Message* message);

// Whether the key applies beside the other keys of `group`, its message (knob.only_with).
bool Applies(const google::protobuf::Message& group,
             const google::protobuf::FieldDescriptor& field);

// Whether the field of `group`, its message, holds the value of knob.default.
bool HasItsDefault(const google::protobuf::Message& group,
                   const google::protobuf::FieldDescriptor& field);

// Appends a violation for each required field that is absent, each field that does not apply, each
// number out of its range and each enum value that is unspecified or unknown.
void CheckKnobs(const google::protobuf::Message& message, std::vector<ConfigViolation>* violations);

// "8 to 1048576 tokens", "above 0", "at least 0 steps"; "" for an open range.
std::string RangeText(const google::protobuf::FieldDescriptor& field);

}  // namespace trainerd
