// SPDX-License-Identifier: Apache-2.0
// One scalar field as text and back: the value of a key in YAML and in --set, and the default of a
// knob. "Scalar" includes Duration (300s, 5m, 1h30m) and Timestamp (RFC 3339); bytes are hex
// digits.
#pragma once

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"

namespace trainerd {

// How a text was written: quotes make a number text.
enum class TextStyle { kPlain, kQuoted };

// A field whose value is one text: a scalar, a Duration or a Timestamp; each element if it is
// repeated. Maps and other messages are not.
bool IsScalarField(const google::protobuf::FieldDescriptor& field);
bool IsTimestampField(const google::protobuf::FieldDescriptor& field);

// Sets `field`, or adds an element to it if it is repeated, from `text`. On an error the message is
// unchanged. Errors: InvalidArgument `"ten" is not a whole number`.
absl::Status SetScalar(const google::protobuf::FieldDescriptor& field, const std::string& text,
                       TextStyle style, google::protobuf::Message* message);

// Sets `field` from a knob's default: a scalar, or a list "[a, b]" for a repeated field. Errors:
// InvalidArgument.
absl::Status SetFromDefault(const google::protobuf::FieldDescriptor& field, const std::string& text,
                            google::protobuf::Message* message);

// The value of `field` (of element `index` if it is repeated) as SetScalar reads it; doubles in the
// shortest form that reads back equal.
std::string ScalarText(const google::protobuf::Message& message,
                       const google::protobuf::FieldDescriptor& field, int index = 0);

// The kind of value of a field, for messages: "a whole number", "a number", "true or false",
// "text", "a duration (300s, 5m, 2h)" …
std::string KindOfField(const google::protobuf::FieldDescriptor& field);

// The value of a numeric field (of element `index`) or of a Duration in seconds, for range checks.
// Only for those.
double NumericValue(const google::protobuf::Message& message,
                    const google::protobuf::FieldDescriptor& field, int index = 0);
bool IsNumericField(const google::protobuf::FieldDescriptor& field);

// Whether a part of a text is 1 to `max_digits` digits, without sign and spaces: a port, an index.
bool IsAllDigits(absl::string_view text, size_t max_digits);

}  // namespace trainerd
