// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/config/rules/config_limits.h"

#include <functional>
#include <set>

#include "absl/strings/str_cat.h"
#include "google/protobuf/unknown_field_set.h"
#include "proto/contract/config/config_paths.h"

namespace trainerd {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using google::protobuf::UnknownFieldSet;

constexpr int kMaxEntries = 1000;
constexpr size_t kMaxTextBytes = 1024;
constexpr size_t kMaxPromptBytes = 64 << 10;
// Of a message that holds nothing but unknown fields.
constexpr size_t kMaxUnknownFields = 100;

// Calls `visit` for `message` and each group in it, with the group's dotted path.
void ForEachGroup(const Message& message, const std::string& path,
                  const std::function<void(const Message&, const std::string&)>& visit) {
  visit(message, path);
  const Reflection& reflection = *message.GetReflection();
  for (const FieldDescriptor* field : PresentFields(message)) {
    if (field->message_type() == nullptr || field->is_map()) continue;
    const std::string inner = JoinPath(path, std::string(field->name()));
    if (!field->is_repeated()) {
      ForEachGroup(reflection.GetMessage(message, field), inner, visit);
      continue;
    }
    for (int i = 0; i < reflection.FieldSize(message, field); ++i) {
      ForEachGroup(reflection.GetRepeatedMessage(message, field, i),
                   absl::StrCat(inner, "[", i, "]"), visit);
    }
  }
}

// Whether `message` or a group in it holds an unknown field. Unlike ForEachGroup, it allocates
// nothing.
bool HasUnknownField(const Message& message) {
  const Reflection& reflection = *message.GetReflection();
  if (!reflection.GetUnknownFields(message).empty()) return true;
  const Descriptor& descriptor = *message.GetDescriptor();
  for (int i = 0; i < descriptor.field_count(); ++i) {
    const FieldDescriptor* field = descriptor.field(i);
    if (field->message_type() == nullptr || field->is_map()) continue;
    if (!field->is_repeated()) {
      if (reflection.HasField(message, field) &&
          HasUnknownField(reflection.GetMessage(message, field)))
        return true;
      continue;
    }
    for (int k = 0; k < reflection.FieldSize(message, field); ++k) {
      if (HasUnknownField(reflection.GetRepeatedMessage(message, field, k))) return true;
    }
  }
  return false;
}

bool HasOwnRule(const FieldDescriptor& field) {
  const v1::Knob& knob = KnobOf(field);
  return knob.path() || field.full_name() == "trainerd.v1.JobConfig.name";
}

size_t LimitOf(const FieldDescriptor& field) {
  if (field.full_name() == "trainerd.v1.DataConfig.system_prompt") return kMaxPromptBytes;
  return KnobOf(field).path_if_dotted() ? kMaxPathBytes : kMaxTextBytes;
}

}  // namespace

void CheckConfigSize(const Message& config, std::vector<ConfigViolation>* violations) {
  const size_t size = config.ByteSizeLong();
  if (size > kMaxConfigBytes) {
    violations->push_back({"", absl::StrCat("the configuration has ", size, " bytes; the limit is ",
                                            kMaxConfigBytes)});
  }
  // An entry has at least one byte, so most configurations need no walk.
  if (size <= static_cast<size_t>(kMaxEntries)) return;
  ForEachGroup(config, "", [&](const Message& group, const std::string& path) {
    for (const FieldDescriptor* field : PresentFields(group)) {
      // The rule for labels is stricter.
      if (!field->is_repeated() || field->is_map()) continue;
      const int entries = group.GetReflection()->FieldSize(group, field);
      if (entries <= kMaxEntries) continue;
      violations->push_back(
          {JoinPath(path, std::string(field->name())),
           absl::StrCat("has ", entries, " entries; the limit is ", kMaxEntries)});
    }
  });
}

void CheckTextSizes(const Message& config, std::vector<ConfigViolation>* violations) {
  if (config.ByteSizeLong() <= kMaxTextBytes) return;
  ForEachText(config, [&](const TextPlace& place) {
    if (HasOwnRule(place.field)) return;
    std::string scratch;
    const size_t size = place.Value(&scratch).size(), limit = LimitOf(place.field);
    if (size <= limit) return;
    violations->push_back(
        {place.path.Text(), absl::StrCat("has ", size, " bytes; the limit is ", limit)});
  });
}

void CheckUnknownFields(const Message& config, std::vector<ConfigViolation>* violations) {
  if (!HasUnknownField(config)) return;
  size_t found = 0;
  ForEachGroup(config, "", [&](const Message& group, const std::string& path) {
    const UnknownFieldSet& unknown = group.GetReflection()->GetUnknownFields(group);
    std::set<int> numbers;
    for (int i = 0; i < unknown.field_count() && found < kMaxUnknownFields; ++i) {
      if (!numbers.insert(unknown.field(i).number()).second) continue;
      ++found;
      violations->push_back(
          {.path = path,
           .message = absl::StrCat("field ", unknown.field(i).number(), " of ",
                                   path.empty() ? "the configuration" : path,
                                   " is not known to this version of trainerd; leave it out, or "
                                   "use a daemon that has it"),
           .reason = "UNKNOWN_FIELD"});
    }
  });
}

}  // namespace trainerd
