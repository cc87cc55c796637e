// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/config/knob_rules.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/config_paths.h"
#include "proto/contract/config/enum_words.h"
#include "proto/contract/config/field_text.h"

namespace trainerd {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

bool IsPresent(const Message& message, const FieldDescriptor& field) {
  const Reflection& reflection = *message.GetReflection();
  return field.is_repeated() ? reflection.FieldSize(message, &field) > 0
                             : reflection.HasField(message, &field);
}

// A message that is one key of its own, "optimizer.adamw".
bool IsGroupField(const FieldDescriptor& field) {
  return !IsScalarField(field) && !field.is_repeated();
}

// Whether the key of `condition`, "type=sgd", has that value in `group`.
bool IsMet(const Message& group, const std::string& condition) {
  const std::pair<std::string, std::string> key_value =
      absl::StrSplit(condition, absl::MaxSplits('=', 1));
  const FieldDescriptor* key = group.GetDescriptor()->FindFieldByName(key_value.first);
  TRAINERD_CHECK(key != nullptr);
  return ScalarText(group, *key, 0) == key_value.second;
}

// Whether the key holds what `text`, a default as in a knob, sets.
bool HoldsValue(const Message& group, const FieldDescriptor& field, const std::string& text) {
  const std::unique_ptr<Message> other(group.New());
  if (!SetFromDefault(field, text, other.get()).ok()) return false;
  const auto values = [&](const Message& message) {
    std::vector<std::string> found;
    const int size = field.is_repeated() ? message.GetReflection()->FieldSize(message, &field) : 1;
    for (int i = 0; i < size; ++i) found.push_back(ScalarText(message, field, i));
    return found;
  };
  return values(group) == values(*other);
}

bool InRange(double value, const v1::Knob& knob) {
  double bound = 0;
  if (!knob.min().empty()) {
    TRAINERD_CHECK(absl::SimpleAtod(knob.min(), &bound));
    if (knob.min_exclusive() ? value <= bound : value < bound) return false;
  }
  if (!knob.max().empty()) {
    TRAINERD_CHECK(absl::SimpleAtod(knob.max(), &bound));
    if (knob.max_exclusive() ? value >= bound : value > bound) return false;
  }
  return true;
}

void CheckValue(const Message& message, const FieldDescriptor& field, int index,
                const std::string& path, std::vector<ConfigViolation>* violations) {
  const v1::Knob& knob = KnobOf(field);
  const std::string text = ScalarText(message, field, index);
  if (IsNumericField(field) && !InRange(NumericValue(message, field, index), knob)) {
    violations->push_back(
        {path, absl::StrCat(text, " is out of range; allowed: ", RangeText(field))});
  }
  // A message that did not come from YAML can hold any number.
  if (field.enum_type() != nullptr && FindEnumText(*field.enum_type(), text) == nullptr)
    violations->push_back({path, NoSuchEnumText(*field.enum_type(), text)});
}

// The key of that name in a group beside `field` that applies: what `field` is called there. "" if
// there is none.
std::string SameKeyInGroup(const Message& message, const FieldDescriptor& field) {
  for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor& group = *message.GetDescriptor()->field(i);
    if (!IsGroupField(group) || KnobOf(group).only_with().empty() || !Applies(message, group))
      continue;
    if (group.message_type()->FindFieldByName(std::string(field.name())) != nullptr)
      return JoinPath(std::string(group.name()), std::string(field.name()));
  }
  return "";
}

void CheckApplies(const Message& message, const FieldDescriptor& field, const std::string& path,
                  std::vector<ConfigViolation>* violations) {
  if (!IsPresent(message, field) || Applies(message, field)) return;
  const std::string instead = SameKeyInGroup(message, field);
  const std::string section = path.substr(0, path.size() - field.name().size());
  violations->push_back(
      {path, absl::StrCat("applies only with ", ConditionText(KnobOf(field)), "; ",
                          instead.empty() ? "remove it"
                                          : absl::StrCat("give ", section, instead, " instead"))});
}

void CheckField(const Message& message, const FieldDescriptor& field, const std::string& path,
                std::vector<ConfigViolation>* violations);

void CheckGroup(const Message& message, const std::string& section,
                std::vector<ConfigViolation>* violations) {
  for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor& field = *message.GetDescriptor()->field(i);
    CheckField(message, field, JoinPath(section, std::string(field.name())), violations);
  }
}

void CheckField(const Message& message, const FieldDescriptor& field, const std::string& path,
                std::vector<ConfigViolation>* violations) {
  const Reflection& reflection = *message.GetReflection();
  const v1::Knob& knob = KnobOf(field);
  if (field.is_map()) return;
  CheckApplies(message, field, path, violations);
  if (knob.required() && !IsPresent(message, field)) {
    violations->push_back({path, absl::StrCat(path, " is required")});
    return;
  }
  if (IsGroupField(field)) {
    // An absent group is looked into for what it must hold.
    if (IsPresent(message, field) || !knob.optional_group())
      CheckGroup(reflection.GetMessage(message, &field), path, violations);
  } else if (!IsScalarField(field)) {
    for (int i = 0; i < reflection.FieldSize(message, &field); ++i) {
      CheckGroup(reflection.GetRepeatedMessage(message, &field, i), absl::StrCat(path, "[", i, "]"),
                 violations);
    }
  } else if (field.is_repeated()) {
    for (int i = 0; i < reflection.FieldSize(message, &field); ++i)
      CheckValue(message, field, i, absl::StrCat(path, "[", i, "]"), violations);
  } else if (IsPresent(message, field)) {
    CheckValue(message, field, 0, path, violations);
  }
}

// Whether `message` was resolved while `condition` was met: it has every key that then has a
// default.
bool WasResolvedWith(const Message& message, const std::string& condition) {
  for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor& field = *message.GetDescriptor()->field(i);
    const auto& conditions = KnobOf(field).only_with();
    const bool has_default =
        IsScalarField(field) && KnobOf(field).has_default_() &&
        std::find(conditions.begin(), conditions.end(), condition) != conditions.end();
    if (has_default && !IsPresent(message, field)) return false;
  }
  return true;
}

// Whether a key holds its default, or that of the value of the other key with which the message was
// resolved.
bool HoldsSomeDefault(const Message& message, const FieldDescriptor& field) {
  const v1::Knob& knob = KnobOf(field);
  return HoldsValue(message, field, knob.default_()) ||
         std::any_of(knob.default_with().begin(), knob.default_with().end(),
                     [&](const std::string& text) {
                       const DefaultWith with = ParseDefaultWith(text);
                       return HoldsValue(message, field, with.value) &&
                              WasResolvedWith(message, with.condition);
                     });
}

// Whether every key of the group that is given holds a default.
bool HoldsDefaultsAlone(const Message& group) {
  const std::vector<const FieldDescriptor*> fields = PresentFields(group);
  return std::all_of(fields.begin(), fields.end(), [&](const FieldDescriptor* field) {
    return IsScalarField(*field) && KnobOf(*field).has_default_() &&
           HoldsSomeDefault(group, *field);
  });
}

// A group that applies is filled in; one that does not is cleared if it holds defaults alone.
void ApplyConditionalGroup(const FieldDescriptor& field, Message* message) {
  const Reflection& reflection = *message->GetReflection();
  if (Applies(*message, field)) {
    ApplyDefaults(reflection.MutableMessage(message, &field));
  } else if (IsPresent(*message, field) &&
             HoldsDefaultsAlone(reflection.GetMessage(*message, &field))) {
    reflection.ClearField(message, &field);
  }
}

// Defaults of keys that depend on another key, which has its own default by now. A key that does
// not apply is cleared if it holds a default: a configuration that was resolved with another value
// of the other key has it.
void ApplyConditionalDefaults(Message* message) {
  std::vector<const FieldDescriptor*> inapplicable;
  for (int i = 0; i < message->GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor& field = *message->GetDescriptor()->field(i);
    const v1::Knob& knob = KnobOf(field);
    if (knob.only_with().empty()) continue;
    if (IsGroupField(field)) {
      ApplyConditionalGroup(field, message);
    } else if (knob.has_default_() && Applies(*message, field)) {
      if (!IsPresent(*message, field))
        TRAINERD_CHECK(SetFromDefault(field, DefaultOf(*message, field), message).ok());
    } else if (knob.has_default_() && IsPresent(*message, field) &&
               HoldsSomeDefault(*message, field)) {
      inapplicable.push_back(&field);
    }
  }
  for (const FieldDescriptor* field : inapplicable)
    message->GetReflection()->ClearField(message, field);
}

}  // namespace

std::string DefaultOf(const Message& group, const FieldDescriptor& field) {
  const v1::Knob& knob = KnobOf(field);
  for (const std::string& text : knob.default_with()) {
    const DefaultWith with = ParseDefaultWith(text);
    if (IsMet(group, with.condition)) return with.value;
  }
  return knob.default_();
}

bool HasItsDefault(const Message& group, const FieldDescriptor& field) {
  return HoldsValue(group, field, DefaultOf(group, field));
}

bool Applies(const Message& group, const FieldDescriptor& field) {
  const v1::Knob& knob = KnobOf(field);
  return knob.only_with().empty() ||
         std::any_of(knob.only_with().begin(), knob.only_with().end(),
                     [&](const std::string& condition) { return IsMet(group, condition); });
}

void ApplyDefaults(Message* message) {
  const Reflection& reflection = *message->GetReflection();
  for (int i = 0; i < message->GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor& field = *message->GetDescriptor()->field(i);
    if (field.is_map()) continue;
    const v1::Knob& knob = KnobOf(field);
    if (IsScalarField(field)) {
      if (!knob.has_default_() || !knob.only_with().empty() || IsPresent(*message, field)) continue;
      const absl::Status status = SetFromDefault(field, knob.default_(), message);
      TRAINERD_CHECK(status.ok());
    } else if (field.is_repeated()) {
      for (int k = 0; k < reflection.FieldSize(*message, &field); ++k)
        ApplyDefaults(reflection.MutableRepeatedMessage(message, &field, k));
    } else if (!knob.only_with().empty()) {
      continue;  // ApplyConditionalDefaults
    } else if (IsPresent(*message, field) || !knob.optional_group()) {
      Message* group = reflection.MutableMessage(message, &field);
      ApplyDefaults(group);
      std::vector<const FieldDescriptor*> set;
      group->GetReflection()->ListFields(*group, &set);
      // A group without any default stays absent.
      if (set.empty()) reflection.ClearField(message, &field);
    }
  }
  ApplyConditionalDefaults(message);
}

void CheckKnobs(const Message& message, std::vector<ConfigViolation>* violations) {
  CheckGroup(message, "", violations);
}

DefaultWith ParseDefaultWith(const std::string& text) {
  const std::pair<std::string, std::string> parts = absl::StrSplit(text, absl::MaxSplits(':', 1));
  return {.condition = parts.first, .value = parts.second};
}

std::string ConditionText(const v1::Knob& knob) {
  return absl::StrReplaceAll(absl::StrJoin(knob.only_with(), " or "), {{"=", ": "}});
}

std::string RangeText(const FieldDescriptor& field) {
  const v1::Knob& knob = KnobOf(field);
  std::string text;
  if (!knob.min().empty() && !knob.max().empty()) {
    text = absl::StrCat(knob.min_exclusive() ? "above " : "", knob.min(), " to ",
                        knob.max_exclusive() ? "below " : "", knob.max());
  } else if (!knob.min().empty()) {
    text = absl::StrCat(knob.min_exclusive() ? "above " : "at least ", knob.min());
  } else if (!knob.max().empty()) {
    text = absl::StrCat(knob.max_exclusive() ? "below " : "at most ", knob.max());
  } else {
    return "";
  }
  return knob.unit().empty() ? text : absl::StrCat(text, " ", knob.unit());
}

}  // namespace trainerd
