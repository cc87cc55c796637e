// SPDX-License-Identifier: Apache-2.0
// What follows from the knob options alone, for any configuration message: defaults, required
// fields, ranges and choices.
#pragma once

#include <string>
#include <vector>

#include "google/protobuf/message.h"
#include "proto/contract/config/config_violation.h"
#include "trainerd/v1/knob.pb.h"

namespace trainerd {

// Fills in the default of each absent field that applies (knob.only_with), groups that are absent
// included, except those whose absence means something (knob.optional_group without
// knob.only_with). Clears a field that does not apply and holds a default, and a group that does
// not apply and holds defaults alone.
void ApplyDefaults(google::protobuf::Message* message);

// Whether the key applies beside the other keys of `group`, its message (knob.only_with).
bool Applies(const google::protobuf::Message& group,
             const google::protobuf::FieldDescriptor& field);

// The default of a field beside the other keys of `group`, its message: that of
// knob.default_with, else knob.default.
std::string DefaultOf(const google::protobuf::Message& group,
                      const google::protobuf::FieldDescriptor& field);

// Whether the field of `group`, its message, holds the value of DefaultOf.
bool HasItsDefault(const google::protobuf::Message& group,
                   const google::protobuf::FieldDescriptor& field);

// Appends a violation for each required field that is absent, each field that does not apply, each
// number out of its range and each enum value that is unspecified or unknown.
void CheckKnobs(const google::protobuf::Message& message, std::vector<ConfigViolation>* violations);

// An element of knob.default_with, "type=muon:0.95".
struct DefaultWith {
  std::string condition;  // type=muon
  std::string value;      // 0.95
};
DefaultWith ParseDefaultWith(const std::string& text);

// What knob.only_with requires: "type: sgd", or "type: sgd or type: muon".
std::string ConditionText(const v1::Knob& knob);

// "8 to 1048576 tokens", "above 0", "at least 0 steps"; "" for an open range.
std::string RangeText(const google::protobuf::FieldDescriptor& field);

}  // namespace trainerd
