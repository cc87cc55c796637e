// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/config/config_merge.h"

#include <vector>

#include "proto/contract/config/config_paths.h"
#include "proto/contract/config/field_text.h"
#include "proto/contract/config/knob_rules.h"

namespace trainerd {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// Clears the lists of `base` that `changes` gives, because MergeFrom appends to a list.
void ClearReplacedLists(const Message& changes, Message* base) {
  for (const FieldDescriptor* field : PresentFields(changes)) {
    if (field->is_map()) continue;
    if (field->is_repeated()) {
      base->GetReflection()->ClearField(base, field);
    } else if (field->message_type() != nullptr) {
      ClearReplacedLists(changes.GetReflection()->GetMessage(changes, field),
                         base->GetReflection()->MutableMessage(base, field));
    }
  }
}

// Clears the keys of `base` that hold a default which depends on another key (knob.default_with):
// `changes` may give that key, and the default follows it.
void ClearDependentDefaults(Message* base) {
  const google::protobuf::Reflection& reflection = *base->GetReflection();
  for (const FieldDescriptor* field : PresentFields(*base)) {
    if (field->is_map() || field->is_repeated()) continue;
    if (field->message_type() != nullptr) {
      ClearDependentDefaults(reflection.MutableMessage(base, field));
    } else if (!KnobOf(*field).default_with().empty() && HasItsDefault(*base, *field)) {
      reflection.ClearField(base, field);
    }
  }
}

// Muon's learning rate suits no other optimizer, and theirs does not suit Muon.
bool ChangesToOrFromMuon(const v1::OptimizerConfig& base, const v1::OptimizerConfig& changes) {
  return changes.has_type() && changes.type() != base.type() &&
         (changes.type() == v1::OptimizerConfig::TYPE_MUON ||
          base.type() == v1::OptimizerConfig::TYPE_MUON);
}

// Clears the keys that do not apply beside the others and that `changes` does not give.
void ClearInapplicable(const Message& changes, Message* merged) {
  const google::protobuf::Reflection& reflection = *merged->GetReflection();
  for (const FieldDescriptor* field : PresentFields(*merged)) {
    if (field->is_map() || (field->is_repeated() && field->message_type() != nullptr)) continue;
    const bool given = field->is_repeated() ? reflection.FieldSize(changes, field) > 0
                                            : reflection.HasField(changes, field);
    if (!given && !Applies(*merged, *field)) {
      reflection.ClearField(merged, field);
    } else if (!IsScalarField(*field)) {
      ClearInapplicable(reflection.GetMessage(changes, field),
                        reflection.MutableMessage(merged, field));
    }
  }
}

}  // namespace

v1::JobConfig MergeJobConfig(v1::JobConfig base, const v1::JobConfig& changes) {
  ClearReplacedLists(changes, &base);
  ClearDependentDefaults(&base);
  if (ChangesToOrFromMuon(base.optimizer(), changes.optimizer()))
    base.mutable_optimizer()->clear_learning_rate();
  base.mutable_output()->clear_path();
  if (!base.output().has_form()) base.clear_output();
  // When the other job was to start.
  base.clear_suspended();
  base.clear_not_before();
  base.clear_depends_on();
  if (changes.train().has_epochs()) base.mutable_train()->clear_max_steps();
  if (changes.data().has_validation()) base.mutable_data()->clear_validation_fraction();
  if (changes.data().has_validation_fraction()) base.mutable_data()->clear_validation();
  base.MergeFrom(changes);
  ClearInapplicable(changes, &base);
  return base;
}

}  // namespace trainerd
