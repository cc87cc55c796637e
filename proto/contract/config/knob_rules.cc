// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/config/knob_rules.h"

#include <algorithm>
#include <memory>
#include <unordered_map>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/synchronization/mutex.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/config_paths.h"
#include "proto/contract/config/enum_words.h"
#include "proto/contract/config/field_text.h"

namespace trainerd {
namespace {

using google::protobuf::Descriptor;
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
                const KeyPath& path, std::vector<ConfigViolation>* violations) {
  const v1::Knob& knob = KnobOf(field);
  if (IsNumericField(field) && !InRange(NumericValue(message, field, index), knob)) {
    violations->push_back(
        {path.Text(), absl::StrCat(ScalarText(message, field, index),
                                   " is out of range; allowed: ", RangeText(field))});
  }
  // A message that did not come from YAML can hold any number.
  if (field.enum_type() == nullptr) return;
  const std::string text = ScalarText(message, field, index);
  if (FindEnumText(*field.enum_type(), text) == nullptr)
    violations->push_back({path.Text(), NoSuchEnumText(*field.enum_type(), text)});
}

// The key of that name in a group beside `field` that applies: what `field` is called there. "" if
// there is none.
std::string SameKeyInGroup(const Message& message, const FieldDescriptor& field) {
  const Descriptor& descriptor = *message.GetDescriptor();
  for (int i = 0; i < descriptor.field_count(); ++i) {
    const FieldDescriptor& group = *descriptor.field(i);
    if (!IsGroupField(group) || KnobOf(group).only_with().empty() || !Applies(message, group))
      continue;
    if (group.message_type()->FindFieldByName(std::string(field.name())) != nullptr)
      return JoinPath(std::string(group.name()), std::string(field.name()));
  }
  return "";
}

void CheckApplies(const Message& message, const FieldDescriptor& field, const KeyPath& path,
                  std::vector<ConfigViolation>* violations) {
  if (!IsPresent(message, field) || Applies(message, field)) return;
  const std::string instead = SameKeyInGroup(message, field), text = path.Text();
  const std::string section = text.substr(0, text.size() - field.name().size());
  violations->push_back(
      {text, absl::StrCat("applies only with ", ConditionText(KnobOf(field)), "; ",
                          instead.empty() ? "remove it"
                                          : absl::StrCat("give ", section, instead, " instead"))});
}

void CheckField(const Message& message, const FieldDescriptor& field, const KeyPath& section,
                std::vector<ConfigViolation>* violations);

void CheckGroup(const Message& message, const KeyPath& section,
                std::vector<ConfigViolation>* violations) {
  const Descriptor& descriptor = *message.GetDescriptor();
  for (int i = 0; i < descriptor.field_count(); ++i)
    CheckField(message, *descriptor.field(i), section, violations);
}

void CheckField(const Message& message, const FieldDescriptor& field, const KeyPath& section,
                std::vector<ConfigViolation>* violations) {
  const Reflection& reflection = *message.GetReflection();
  const v1::Knob& knob = KnobOf(field);
  const KeyPath path{&section, field.name()};
  if (field.is_map()) return;
  CheckApplies(message, field, path, violations);
  if (knob.required() && !IsPresent(message, field)) {
    violations->push_back({path.Text(), absl::StrCat(path.Text(), " is required")});
    return;
  }
  if (IsGroupField(field)) {
    // An absent group is looked into for what it must hold.
    if (IsPresent(message, field) || !knob.optional_group())
      CheckGroup(reflection.GetMessage(message, &field), path, violations);
    return;
  }
  if (!field.is_repeated() && IsPresent(message, field))
    CheckValue(message, field, 0, path, violations);
  for (int i = 0; field.is_repeated() && i < reflection.FieldSize(message, &field); ++i) {
    const KeyPath element{&section, field.name(), i};
    if (IsScalarField(field)) {
      CheckValue(message, field, i, element, violations);
    } else {
      CheckGroup(reflection.GetRepeatedMessage(message, &field, i), element, violations);
    }
  }
}

// Whether `message` was resolved while `condition` was met: it has every key that then has a
// default.
bool WasResolvedWith(const Message& message, const std::string& condition) {
  const Descriptor& descriptor = *message.GetDescriptor();
  for (int i = 0; i < descriptor.field_count(); ++i) {
    const FieldDescriptor& field = *descriptor.field(i);
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

bool HasUnconditionalDefault(const FieldDescriptor& field) {
  const v1::Knob& knob = KnobOf(field);
  return IsScalarField(field) && knob.has_default_() && knob.only_with().empty();
}

// MergeFrom replaces it as a whole: no list, no Duration.
bool IsPlain(const FieldDescriptor& field) {
  return !field.is_repeated() && field.message_type() == nullptr;
}

// A message of the type of `message` with the defaults of its plain keys that do not depend on
// other keys. Parsed once: a submit sets some 60 defaults. Thread-safe.
const Message& UnconditionalDefaults(const Message& message) {
  static absl::Mutex mutex(absl::kConstInit);
  static auto* defaults = new std::unordered_map<const Descriptor*, std::unique_ptr<Message>>();
  absl::MutexLock lock(&mutex);
  std::unique_ptr<Message>& known = (*defaults)[message.GetDescriptor()];
  if (known != nullptr) return *known;
  known.reset(message.New());
  const Descriptor& descriptor = *message.GetDescriptor();
  for (int i = 0; i < descriptor.field_count(); ++i) {
    const FieldDescriptor& field = *descriptor.field(i);
    if (IsPlain(field) && HasUnconditionalDefault(field))
      TRAINERD_CHECK(SetFromDefault(field, KnobOf(field).default_(), known.get()).ok());
  }
  return *known;
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
  const Descriptor& descriptor = *message->GetDescriptor();
  for (int i = 0; i < descriptor.field_count(); ++i) {
    const FieldDescriptor& field = *descriptor.field(i);
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
  std::unique_ptr<Message> filled(UnconditionalDefaults(*message).New());
  filled->CopyFrom(UnconditionalDefaults(*message));
  filled->MergeFrom(*message);
  reflection.Swap(message, filled.get());
  const Descriptor& descriptor = *message->GetDescriptor();
  for (int i = 0; i < descriptor.field_count(); ++i) {
    const FieldDescriptor& field = *descriptor.field(i);
    if (field.is_map()) continue;
    const v1::Knob& knob = KnobOf(field);
    if (IsScalarField(field)) {
      if (!IsPlain(field) && HasUnconditionalDefault(field) && !IsPresent(*message, field))
        TRAINERD_CHECK(SetFromDefault(field, knob.default_(), message).ok());
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
  CheckGroup(message, KeyPath(), violations);
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
