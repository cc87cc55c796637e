// SPDX-License-Identifier: Apache-2.0
// Fields by name in byte order, no white space, numbers in their shortest form: one configuration,
// one text, on every machine and version.
#include "proto/contract/config/config_digest.h"

#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "proto/base/hash.h"
#include "proto/contract/config/config_paths.h"
#include "proto/contract/config/field_text.h"
#include "proto/contract/config/knob_rules.h"

namespace trainerd {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

// A job may become longer or shorter: the steps so far stay the same.
constexpr const char* kLengthFields[] = {"train.max_steps", "train.epochs"};

bool ChangesNumbers(const FieldDescriptor& field) {
  const v1::Knob& knob = KnobOf(field);
  return !knob.has_identity() || knob.identity();
}

std::string JsonText(const std::string& text) {
  std::string json = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') json += '\\';
    if (byte < 0x20) {
      absl::StrAppend(&json, "\\u00", absl::Hex(byte, absl::kZeroPad2));
    } else {
      json += c;
    }
  }
  return json + "\"";
}

std::string JsonScalar(const Message& message, const FieldDescriptor& field, int index) {
  const std::string text = ScalarText(message, field, index);
  const bool bare = field.cpp_type() != FieldDescriptor::CPPTYPE_STRING &&
                    field.cpp_type() != FieldDescriptor::CPPTYPE_ENUM &&
                    field.cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE;
  return bare ? text : JsonText(text);
}

// The JSON of a group; "" when nothing in it changes the numbers, so that an absent group and an
// empty one are the same.
std::string JsonGroup(const Message& message);

std::string JsonValue(const Message& message, const FieldDescriptor& field) {
  const Reflection& reflection = *message.GetReflection();
  if (!field.is_repeated()) {
    return IsScalarField(field) ? JsonScalar(message, field, 0)
                                : JsonGroup(reflection.GetMessage(message, &field));
  }
  std::string list;
  for (int i = 0; i < reflection.FieldSize(message, &field); ++i) {
    std::string element = IsScalarField(field)
                              ? JsonScalar(message, field, i)
                              : JsonGroup(reflection.GetRepeatedMessage(message, &field, i));
    // The number of elements counts even where nothing in them does.
    if (element.empty()) element = "{}";
    absl::StrAppend(&list, list.empty() ? "" : ",", element);
  }
  return absl::StrCat("[", list, "]");
}

std::string JsonGroup(const Message& message) {
  std::map<std::string, std::string> members;
  for (const FieldDescriptor* field : PresentFields(message)) {
    // Maps are labels, which change no numbers.
    if (field->is_map() || !ChangesNumbers(*field)) continue;
    if (KnobOf(*field).digest_omits_default() && HasItsDefault(message, *field)) continue;
    std::string value = JsonValue(message, *field);
    if (!value.empty()) members[std::string(field->name())] = std::move(value);
  }
  if (members.empty()) return "";
  std::string json;
  for (const auto& [name, value] : members)
    absl::StrAppend(&json, json.empty() ? "{" : ",", "\"", name, "\":", value);
  return json + "}";
}

// Flat list path → text of everything that changes the numbers.
void Flatten(const Message& message, const std::string& section,
             std::vector<std::pair<std::string, std::string>>* values) {
  const Reflection& reflection = *message.GetReflection();
  for (const FieldDescriptor* field : PresentFields(message)) {
    if (field->is_map() || !ChangesNumbers(*field)) continue;
    const std::string path = JoinPath(section, std::string(field->name()));
    if (IsScalarField(*field)) {
      values->emplace_back(path, JsonValue(message, *field));
    } else if (field->is_repeated()) {
      values->emplace_back(path, absl::StrCat("list of ", reflection.FieldSize(message, field)));
      for (int i = 0; i < reflection.FieldSize(message, field); ++i) {
        Flatten(reflection.GetRepeatedMessage(message, field, i), absl::StrCat(path, "[", i, "]"),
                values);
      }
    } else {
      Flatten(reflection.GetMessage(message, field), path, values);
    }
  }
}

}  // namespace

std::string CanonicalJson(const v1::JobConfig& resolved) {
  const std::string json = JsonGroup(resolved);
  return json.empty() ? "{}" : json;
}

std::string ConfigDigest(const v1::JobConfig& resolved) { return Sha256(CanonicalJson(resolved)); }

std::vector<ConfigDifference> IdentityDifferences(const v1::JobConfig& ours,
                                                  const v1::JobConfig& theirs) {
  std::vector<std::pair<std::string, std::string>> our_values, their_values;
  // A configuration that an older build resolved has no value of newer keys.
  v1::JobConfig our_config = ours, their_config = theirs;
  ApplyDefaults(&our_config);
  ApplyDefaults(&their_config);
  Flatten(our_config, "", &our_values);
  Flatten(their_config, "", &their_values);
  const std::map<std::string, std::string> theirs_by_path(their_values.begin(), their_values.end());
  const std::map<std::string, std::string> ours_by_path(our_values.begin(), our_values.end());
  const auto value_or_absent = [](const std::map<std::string, std::string>& values,
                                  const std::string& path) {
    const auto found = values.find(path);
    return found == values.end() ? std::string("absent") : found->second;
  };
  // Ours in field order, then what only they have.
  std::vector<std::string> paths;
  for (const auto& [path, value] : our_values) paths.push_back(path);
  for (const auto& [path, value] : their_values) {
    if (ours_by_path.count(path) == 0) paths.push_back(path);
  }
  std::vector<ConfigDifference> differences;
  for (const std::string& path : paths) {
    if (std::find(std::begin(kLengthFields), std::end(kLengthFields), path) !=
        std::end(kLengthFields))
      continue;
    const std::string our_value = value_or_absent(ours_by_path, path);
    const std::string their_value = value_or_absent(theirs_by_path, path);
    if (our_value != their_value) differences.push_back({path, our_value, their_value});
  }
  return differences;
}

}  // namespace trainerd
