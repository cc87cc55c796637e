// SPDX-License-Identifier: Apache-2.0
// Every scalar key of the job file by reflection, and a configuration in which each of them can be
// changed: what "for each knob" tests walk over.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "google/protobuf/descriptor.h"
#include "proto/contract/config/config_paths.h"
#include "proto/contract/config/enum_words.h"
#include "proto/contract/config/field_text.h"
#include "proto/contract/config/knob_rules.h"
#include "trainerd/v1/job_config.pb.h"

namespace trainerd::testing {

struct KnobField {
  std::string path;     // data.train[0].weight
  std::string section;  // data.train[0]
  const google::protobuf::FieldDescriptor* field;
};

inline void AddKnobFields(const google::protobuf::Descriptor& group, const std::string& section,
                          std::vector<KnobField>* fields) {
  for (int i = 0; i < group.field_count(); ++i) {
    const google::protobuf::FieldDescriptor& field = *group.field(i);
    const std::string path = JoinPath(section, std::string(field.name()));
    if (field.is_map()) continue;
    if (IsScalarField(field)) {
      fields->push_back({path, section, &field});
    } else {
      AddKnobFields(*field.message_type(), field.is_repeated() ? path + "[0]" : path, fields);
    }
  }
}

inline std::vector<KnobField> AllKnobFields(const google::protobuf::Descriptor& root) {
  std::vector<KnobField> fields;
  AddKnobFields(root, "", &fields);
  return fields;
}

// Valid, with one source and every optional group but preference, which excludes others.
inline v1::JobConfig CompleteConfig() {
  v1::JobConfig config;
  config.mutable_model()->set_path("/models/m");
  config.mutable_data()->add_train()->set_path("/data/a.jsonl");
  config.mutable_data()->set_validation("/data/v.jsonl");
  config.mutable_samples()->set_prompts("/data/p.jsonl");
  config.mutable_train()->mutable_token_weighting();
  config.mutable_lora();
  config.mutable_output()->set_path("/models/out");
  config.mutable_init_from()->set_checkpoint("jobs/4f");
  config.add_depends_on()->set_job("jobs/5b");
  config.add_notify()->set_target("pager");
  // Required with optimizer.type: muon.
  config.mutable_optimizer()->set_learning_rate(2e-5);
  return config;
}

// The fields from the top level to the key, with the message that each is in. Groups that are
// absent are created on the way; an element of a list ends it.
inline void ForEachFieldOnPath(
    const KnobField& knob, v1::JobConfig* config,
    const std::function<void(google::protobuf::Message*, const google::protobuf::FieldDescriptor&)>&
        visit) {
  google::protobuf::Message* message = config;
  for (const absl::string_view part : absl::StrSplit(knob.path, '.')) {
    const std::string name(part.substr(0, part.find('[')));
    const google::protobuf::FieldDescriptor& field =
        *message->GetDescriptor()->FindFieldByName(name);
    visit(message, field);
    if (field.is_repeated() || IsScalarField(field)) return;
    message = message->GetReflection()->MutableMessage(message, &field);
  }
}

// Gives `config` what the field and its groups need to apply (knob.only_with).
inline void MakeApply(const KnobField& knob, v1::JobConfig* config) {
  ForEachFieldOnPath(knob, config, [](auto* message, const auto& field) {
    if (KnobOf(field).only_with().empty()) return;
    // "type=sgd"
    const std::pair<std::string, std::string> condition =
        absl::StrSplit(KnobOf(field).only_with(0), absl::MaxSplits('=', 1));
    const google::protobuf::FieldDescriptor& key =
        *message->GetDescriptor()->FindFieldByName(condition.first);
    EXPECT_TRUE(SetScalar(key, condition.second, TextStyle::kPlain, message).ok());
  });
  if (knob.path == "optimizer.nesterov") config->mutable_optimizer()->set_momentum(0.25);
  // An adapter cannot be in pure bf16.
  if (knob.path == "train.precision") config->clear_lora();
  // An adapter to start from brings its own r, alpha and so on, whichever it is.
  if (knob.path == "lora.adapter_path") config->mutable_lora()->set_adapter_path("/adapters/a");
}

// Whether the field and its groups apply in `config`, which is resolved.
inline bool AppliesIn(v1::JobConfig config, const KnobField& knob) {
  bool applies = true;
  ForEachFieldOnPath(knob, &config, [&](auto* message, const auto& field) {
    applies = applies && Applies(*message, field);
  });
  return applies;
}

// The words of an enum, or those of a text field; empty where any text is good.
inline std::vector<std::string> ChoicesOf(const google::protobuf::FieldDescriptor& field) {
  if (field.enum_type() != nullptr) return EnumTexts(*field.enum_type());
  const auto& choices = KnobOf(field).choices();
  return {choices.begin(), choices.end()};
}

// Values as in YAML that the field takes, its default not among them; empty where one word is all
// that there is.
inline std::vector<std::string> OtherValues(const google::protobuf::FieldDescriptor& field) {
  using google::protobuf::FieldDescriptor;
  const v1::Knob& knob = KnobOf(field);
  std::vector<std::string> values;
  if (field.name() == "device") return {"cpu", "cuda:0", "cuda:17"};
  if (field.name() == "chat_template") return {"chatml", "/t/x.jinja"};
  if (field.name() == "now") return {"2031-02-03 04:05:06"};
  if (field.name() == "checkpoint")
    return {"/c/step-00000001-a1", "jobs/5a/checkpoints/step-00000001-a1"};
  if (field.name() == "betas") return {"[0.5, 0.25]"};
  if (field.name() == "momentum") return {"0.5"};
  if (IsTimestampField(field)) return {"2031-02-03T04:05:06Z"};
  if (field.name() == "freeze") return {"[model.embed_tokens.*]"};
  if (const std::vector<std::string> choices = ChoicesOf(field); !choices.empty()) {
    for (const std::string& choice : choices) {
      if (choice != knob.default_()) values.push_back(choice);
    }
    return values;
  }
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_BOOL)
    return {knob.default_() == "true" ? "false" : "true"};
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_STRING) return {"/other/place.jsonl"};
  const std::string unit = field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE ? "s" : "";
  if (!knob.min().empty() && !knob.min_exclusive() && knob.min() != knob.default_())
    values.push_back(knob.min() + unit);
  if (!knob.max().empty() && !knob.max_exclusive()) values.push_back(knob.max() + unit);
  if (values.empty()) values.push_back("77" + unit);
  return values;
}

}  // namespace trainerd::testing
