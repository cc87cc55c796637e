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

// "type: sgd", or "type: sgd or muon".
std::string ConditionText(const v1::Knob& knob) {
  return absl::StrJoin(knob.only_with(), " or ",
                       [](std::string* out, const std::string& condition) {
                         absl::StrAppend(out, absl::StrReplaceAll(condition, {{"=", ": "}}));
                       });
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
  if (IsPresent(message, field) && !Applies(message, field)) {
    violations->push_back(
        {path, absl::StrCat("applies only with ", ConditionText(knob), "; remove it")});
  }
  if (knob.required() && !IsPresent(message, field)) {
    violations->push_back({path, absl::StrCat(path, " is required")});
    return;
  }
  if (!IsScalarField(field) && !field.is_repeated()) {
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

// Defaults of keys that depend on another key, which has its own default by now. A key that does
// not apply is cleared if it holds its default: a configuration that was resolved with another
// value of the other key has it.
void ApplyConditionalDefaults(Message* message) {
  for (int i = 0; i < message->GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor& field = *message->GetDescriptor()->field(i);
    const v1::Knob& knob = KnobOf(field);
    if (knob.only_with().empty() || !knob.has_default_()) continue;
    const bool present = IsPresent(*message, field);
    if (Applies(*message, field)) {
      if (!present) TRAINERD_CHECK(SetFromDefault(field, knob.default_(), message).ok());
    } else if (present && HasItsDefault(*message, field)) {
      message->GetReflection()->ClearField(message, &field);
    }
  }
}

}  // namespace

bool HasItsDefault(const Message& group, const FieldDescriptor& field) {
  const std::unique_ptr<Message> other(group.New());
  if (!SetFromDefault(field, KnobOf(field).default_(), other.get()).ok()) return false;
  const auto text = [&](const Message& message) {
    std::vector<std::string> values;
    const int size = field.is_repeated() ? message.GetReflection()->FieldSize(message, &field) : 1;
    for (int i = 0; i < size; ++i) values.push_back(ScalarText(message, field, i));
    return values;
  };
  return text(group) == text(*other);
}

bool Applies(const Message& group, const FieldDescriptor& field) {
  const v1::Knob& knob = KnobOf(field);
  if (knob.only_with().empty()) return true;
  return std::any_of(
      knob.only_with().begin(), knob.only_with().end(), [&](const std::string& condition) {
        const std::pair<std::string, std::string> key_value =
            absl::StrSplit(condition, absl::MaxSplits('=', 1));
        const FieldDescriptor* key = group.GetDescriptor()->FindFieldByName(key_value.first);
        TRAINERD_CHECK(key != nullptr);
        return ScalarText(group, *key, 0) == key_value.second;
      });
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
