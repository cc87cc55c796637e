// SPDX-License-Identifier: Apache-2.0
// The old fields were all texts. Their descriptors no longer exist, so the parser keeps them as
// unknown fields.
#include "proto/contract/job/field_upgrade.h"

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "google/protobuf/unknown_field_set.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/field_text.h"

namespace trainerd {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using google::protobuf::UnknownField;
using google::protobuf::UnknownFieldSet;

struct MovedField {
  std::string_view message;
  int old_number;
  std::string_view name;  // of the field that replaced it
};

// API revision 1 → 2: words became enums, `device` became a list.
constexpr MovedField kMovedFields[] = {
    {"trainerd.v1.DataConfig", 5, "too_long"},
    {"trainerd.v1.DataConfig", 6, "bad_rows"},
    {"trainerd.v1.DataConfig", 7, "packing"},
    {"trainerd.v1.DataConfig", 9, "profile"},
    {"trainerd.v1.DataConfig", 12, "train_on"},
    {"trainerd.v1.DataConfig", 14, "control_tokens"},
    {"trainerd.v1.FindingsConfig", 1, "no_target"},
    {"trainerd.v1.FindingsConfig", 2, "no_assistant"},
    {"trainerd.v1.FindingsConfig", 3, "empty_answer"},
    {"trainerd.v1.FindingsConfig", 4, "answer_in_question"},
    {"trainerd.v1.FindingsConfig", 5, "encoding"},
    {"trainerd.v1.FindingsConfig", 6, "doubled_end"},
    {"trainerd.v1.FindingsConfig", 7, "lost_bytes"},
    {"trainerd.v1.FindingsConfig", 8, "duplicate"},
    {"trainerd.v1.FindingsConfig", 9, "overlap"},
    {"trainerd.v1.FindingsConfig", 10, "two_thinking_forms"},
    {"trainerd.v1.FindingsConfig", 11, "untrained_piece"},
    {"trainerd.v1.TrainConfig", 1, "precision"},
    {"trainerd.v1.TrainConfig", 8, "on_non_finite"},
    {"trainerd.v1.OptimizerConfig", 1, "type"},
    {"trainerd.v1.ScheduleConfig", 1, "type"},
    {"trainerd.v1.InitFromConfig", 2, "state"},
    {"trainerd.v1.Job", 15, "devices"},
    {"trainerd.v1.Attempt", 3, "devices"},
    {"trainerd.internal.AttemptSpec", 5, "devices"},
};

const FieldDescriptor* NewField(const google::protobuf::Descriptor& type, int old_number) {
  for (const MovedField& moved : kMovedFields) {
    if (moved.message == type.full_name() && moved.old_number == old_number)
      return type.FindFieldByName(std::string(moved.name));
  }
  return nullptr;
}

absl::Status UpgradeOwnFields(Message* message) {
  // To ask for the mutable set would allocate one.
  if (message->GetReflection()->GetUnknownFields(*message).empty()) return absl::OkStatus();
  UnknownFieldSet* unknown = message->GetReflection()->MutableUnknownFields(message);
  std::set<int> moved;
  for (int i = 0; i < unknown->field_count(); ++i) {
    const UnknownField& old = unknown->field(i);
    const FieldDescriptor* field = NewField(*message->GetDescriptor(), old.number());
    if (field == nullptr || old.type() != UnknownField::TYPE_LENGTH_DELIMITED) continue;
    RETURN_IF_ERROR(Annotate(SetScalar(*field, old.length_delimited(), TextStyle::kPlain, message),
                             std::string(field->full_name()), " of an older trainerd"));
    moved.insert(old.number());
  }
  for (const int number : moved) unknown->DeleteByNumber(number);
  return absl::OkStatus();
}

}  // namespace

absl::Status UpgradeFields(Message* message) {
  RETURN_IF_ERROR(UpgradeOwnFields(message));
  const Reflection& reflection = *message->GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(*message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->message_type() == nullptr || field->is_map()) continue;
    if (!field->is_repeated()) {
      RETURN_IF_ERROR(UpgradeFields(reflection.MutableMessage(message, field)));
      continue;
    }
    for (int i = 0; i < reflection.FieldSize(*message, field); ++i)
      RETURN_IF_ERROR(UpgradeFields(reflection.MutableRepeatedMessage(message, field, i)));
  }
  return absl::OkStatus();
}

}  // namespace trainerd
