// SPDX-License-Identifier: Apache-2.0
// Expectations follow from the knob options themselves, for every field of both configuration
// files: a new field is covered without an edit here.
#include "proto/contract/config/knob_rules.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "proto/base/format.h"
#include "proto/contract/config/config_paths.h"
#include "proto/contract/config/rules/job_config_rules.h"
#include "proto/contract/job_file/yaml_to_proto.h"
#include "tests/proto/contract/config/knob_fields.h"

namespace trainerd {
namespace {

using google::protobuf::FieldDescriptor;
using testing::AllKnobFields;
using testing::CompleteConfig;
using testing::KnobField;

// Faults of one path.
std::vector<std::string> FaultsAt(const std::string& path, const v1::JobConfig& config) {
  std::vector<ConfigViolation> violations;
  ResolveJobConfig(config, {.now = absl::UnixEpoch()}, &violations);
  std::vector<std::string> messages;
  for (const ConfigViolation& violation : violations) {
    if (violation.path == path || violation.path == path + "[0]")
      messages.push_back(violation.message);
  }
  return messages;
}

std::string InYaml(const FieldDescriptor& field, const std::string& number) {
  const std::string value =
      field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE ? number + "s" : number;
  return field.is_repeated() ? absl::StrCat("[", value, ", ", value, "]") : value;
}

// The nearest number beyond (or, for an exclusive bound, at) `bound`.
std::string Beyond(const FieldDescriptor& field, const std::string& bound, bool exclusive,
                   int direction) {
  double value = 0;
  EXPECT_TRUE(absl::SimpleAtod(bound, &value));
  if (exclusive) return bound;
  const bool whole = KindOfField(field) == "a whole number";
  const double step = whole ? 1 : std::max(1.0, std::abs(value)) * 1e-3;
  const double beyond = value + direction * step;
  return static_cast<double>(static_cast<int64_t>(beyond)) == beyond
             ? absl::StrCat(static_cast<int64_t>(beyond))
             : FormatNumber(beyond);
}

TEST(KnobRulesTest, EveryDefaultParsesAndIsInRange) {
  for (const auto* descriptor : {v1::JobConfig::descriptor(), v1::ServerConfig::descriptor()}) {
    for (const KnobField& knob : AllKnobFields(*descriptor)) {
      if (!KnobOf(*knob.field).has_default_()) continue;
      std::unique_ptr<google::protobuf::Message> group(
          google::protobuf::MessageFactory::generated_factory()
              ->GetPrototype(knob.field->containing_type())
              ->New());
      EXPECT_TRUE(SetFromDefault(*knob.field, KnobOf(*knob.field).default_(), group.get()).ok())
          << knob.path;
    }
  }
  EXPECT_TRUE([] {
    std::vector<ConfigViolation> violations;
    ResolveJobConfig(CompleteConfig(), {.now = absl::UnixEpoch()}, &violations);
    ResolveServerConfig(v1::ServerConfig(), &violations);
    EXPECT_EQ(ViolationsText(violations), "");
    return violations.empty();
  }());
}

TEST(KnobRulesTest, EveryScalarIsOptionalAndDefaultsFillIt) {
  v1::JobConfig config = CompleteConfig();
  config.mutable_preference();
  config.mutable_evaluation()->mutable_best();
  config.mutable_evaluation()->add_remote()->mutable_when();
  ApplyDefaults(&config);
  const std::vector<std::string> paths = FieldPaths(config);
  for (const KnobField& knob : AllKnobFields(*v1::JobConfig::descriptor())) {
    EXPECT_TRUE(knob.field->is_repeated() || knob.field->has_presence())
        << knob.path << " must be optional: absent is not zero";
    const bool filled = std::find(paths.begin(), paths.end(), knob.path) != paths.end();
    if (KnobOf(*knob.field).has_default_()) {
      EXPECT_EQ(filled, testing::AppliesIn(config, knob)) << knob.path;
    }
  }
}

TEST(KnobRulesTest, EveryBoundIsEnforced) {
  int bounds = 0;
  for (const KnobField& knob : AllKnobFields(*v1::JobConfig::descriptor())) {
    const v1::Knob& options = KnobOf(*knob.field);
    for (const int direction : {-1, +1}) {
      const std::string& bound = direction < 0 ? options.min() : options.max();
      if (bound.empty()) continue;
      ++bounds;
      const std::string outside = InYaml(
          *knob.field,
          Beyond(*knob.field, bound,
                 direction < 0 ? options.min_exclusive() : options.max_exclusive(), direction));
      v1::JobConfig config = CompleteConfig();
      testing::MakeApply(knob, &config);
      ASSERT_EQ(ViolationsText(SetField(knob.path, outside, &config).violations), "")
          << knob.path << " " << outside;
      const std::vector<std::string> faults = FaultsAt(knob.path, config);
      ASSERT_FALSE(faults.empty()) << knob.path << " takes " << outside;
      EXPECT_TRUE(
          absl::StrContains(faults[0], "is out of range; allowed: " + RangeText(*knob.field)))
          << faults[0];
    }
  }
  EXPECT_GT(bounds, 25);
}

TEST(KnobRulesTest, EveryClosedListOfWordsIsEnforced) {
  for (const KnobField& knob : AllKnobFields(*v1::JobConfig::descriptor())) {
    const std::vector<std::string> choices = testing::ChoicesOf(*knob.field);
    if (choices.empty()) continue;
    v1::JobConfig config = CompleteConfig();
    testing::MakeApply(knob, &config);
    YamlResult result = SetField(knob.path, choices[0] + "x", &config);
    if (knob.field->enum_type() != nullptr) {
      ASSERT_EQ(result.violations.size(), 1u) << knob.path;
      EXPECT_TRUE(absl::StrContains(result.violations[0].message,
                                    absl::StrCat("did you mean \"", choices[0], "\"?")))
          << result.violations[0].message;
    } else {
      ASSERT_TRUE(result.violations.empty());
      ASSERT_EQ(FaultsAt(knob.path, config).size(), 1u) << knob.path;
    }
    for (const std::string& choice : choices) {
      ASSERT_TRUE(SetField(knob.path, choice, &config).violations.empty());
      EXPECT_TRUE(FaultsAt(knob.path, config).empty()) << knob.path << " " << choice;
    }
  }
}

// A client can send any number.
TEST(KnobRulesTest, RefusesUnspecifiedAndUnknownEnumValues) {
  v1::JobConfig config = CompleteConfig();
  config.mutable_data()->set_packing(static_cast<v1::DataConfig::Packing>(77));
  EXPECT_EQ(FaultsAt("data.packing", config),
            std::vector<std::string>{"\"77\" is not one of none, bfd, bfd_split"});
  config.mutable_data()->set_packing(v1::DataConfig::PACKING_UNSPECIFIED);
  EXPECT_EQ(FaultsAt("data.packing", config),
            std::vector<std::string>{"\"\" is not one of none, bfd, bfd_split"});
}

TEST(KnobRulesTest, EveryKeyRefusesAMisspeltNeighbour) {
  for (const KnobField& knob : AllKnobFields(*v1::JobConfig::descriptor())) {
    v1::JobConfig config = CompleteConfig();
    const std::string misspelt = std::string(knob.field->name()) + "_";
    const YamlResult result = SetField(JoinPath(knob.section, misspelt), "1", &config);
    ASSERT_EQ(result.violations.size(), 1u) << knob.path;
    EXPECT_TRUE(
        absl::StrContains(result.violations[0].message,
                          absl::StrCat("did you mean \"", std::string(knob.field->name()), "\"?")))
        << result.violations[0].message;
  }
}

TEST(KnobRulesTest, EveryKnobHasOneMeaningOfWhoItConcerns) {
  for (const KnobField& knob : AllKnobFields(*v1::JobConfig::descriptor())) {
    const v1::Knob& options = KnobOf(*knob.field);
    // What may change during a run cannot be part of what the run is.
    if (options.live()) {
      EXPECT_TRUE(options.has_identity() && !options.identity()) << knob.path;
    }
    EXPECT_FALSE(options.required() && options.has_default_()) << knob.path;
  }
}

TEST(KnobRulesTest, RequiredFieldsAreNamed) {
  std::vector<ConfigViolation> violations;
  ResolveJobConfig(v1::JobConfig(), {.now = absl::UnixEpoch()}, &violations);
  EXPECT_EQ(ViolationsText(violations), "model.path is required\ndata.train is required");
}

TEST(KnobRulesTest, GroupsWhoseAbsenceMeansSomethingStayAbsent) {
  v1::JobConfig config;
  ApplyDefaults(&config);
  EXPECT_FALSE(config.has_init_from());
  EXPECT_FALSE(config.has_samples());
  EXPECT_FALSE(config.has_output());
  EXPECT_FALSE(config.has_lora());
  EXPECT_FALSE(config.train().has_token_weighting());
  EXPECT_TRUE(config.has_retry());
  config.mutable_samples();
  config.mutable_init_from();
  ApplyDefaults(&config);
  EXPECT_EQ(config.samples().max_tokens(), 64);
  EXPECT_EQ(config.init_from().state(), v1::InitFromConfig::STATE_FULL);
}

TEST(KnobRulesTest, GivenValuesAreNeverReplaced) {
  v1::JobConfig config = CompleteConfig();
  config.mutable_train()->set_epochs(0);
  config.mutable_data()->set_system_prompt("");
  config.mutable_optimizer()->add_betas(0.5);
  ApplyDefaults(&config);
  EXPECT_EQ(config.train().epochs(), 0);
  EXPECT_EQ(config.optimizer().betas_size(), 1);
}

v1::OptimizerConfig Resolved(v1::OptimizerConfig::Type type) {
  v1::OptimizerConfig optimizer;
  optimizer.set_type(type);
  ApplyDefaults(&optimizer);
  return optimizer;
}

TEST(KnobRulesTest, DefaultsFollowAnotherKey) {
  const v1::OptimizerConfig sgd = Resolved(v1::OptimizerConfig::TYPE_SGD),
                            muon = Resolved(v1::OptimizerConfig::TYPE_MUON),
                            adamw = Resolved(v1::OptimizerConfig::TYPE_ADAMW);
  EXPECT_EQ(sgd.momentum(), 0);
  EXPECT_FALSE(sgd.nesterov());
  EXPECT_EQ(muon.momentum(), 0.95);
  EXPECT_TRUE(muon.nesterov());
  EXPECT_FALSE(adamw.has_momentum() || adamw.has_nesterov());
  const google::protobuf::FieldDescriptor& momentum =
      *v1::OptimizerConfig::descriptor()->FindFieldByName("momentum");
  EXPECT_EQ(DefaultOf(sgd, momentum), "0");
  EXPECT_EQ(DefaultOf(muon, momentum), "0.95");
  EXPECT_TRUE(HasItsDefault(sgd, momentum));
  EXPECT_TRUE(HasItsDefault(muon, momentum));
  v1::OptimizerConfig given = sgd;
  given.set_momentum(0.95);
  EXPECT_FALSE(HasItsDefault(given, momentum)) << "the default of another type";
}

TEST(KnobRulesTest, EveryConditionalDefaultParsesAndNamesAKeyOfItsGroup) {
  int found = 0;
  for (const KnobField& knob : AllKnobFields(*v1::JobConfig::descriptor())) {
    for (const std::string& text : KnobOf(*knob.field).default_with()) {
      ++found;
      const DefaultWith with = ParseDefaultWith(text);
      const std::string key = with.condition.substr(0, with.condition.find('='));
      EXPECT_NE(knob.field->containing_type()->FindFieldByName(key), nullptr) << knob.path;
      std::unique_ptr<google::protobuf::Message> group(
          google::protobuf::MessageFactory::generated_factory()
              ->GetPrototype(knob.field->containing_type())
              ->New());
      EXPECT_TRUE(SetFromDefault(*knob.field, with.value, group.get()).ok()) << knob.path;
      EXPECT_TRUE(KnobOf(*knob.field).has_default_()) << knob.path;
    }
  }
  EXPECT_GE(found, 2);
}

// A configuration that was resolved with one type has that type's defaults; with another type they
// are cleared, and what was given is refused.
TEST(KnobRulesTest, ChangingTheOtherKeyClearsDefaultsAlone) {
  v1::OptimizerConfig optimizer = Resolved(v1::OptimizerConfig::TYPE_MUON);
  optimizer.set_type(v1::OptimizerConfig::TYPE_ADAMW);
  ApplyDefaults(&optimizer);
  EXPECT_FALSE(optimizer.has_momentum() || optimizer.has_nesterov() || optimizer.has_adamw() ||
               optimizer.has_newton_schulz_steps() || optimizer.has_newton_schulz_precision() ||
               optimizer.has_adjust_learning_rate());
  EXPECT_EQ(optimizer.ShortDebugString(),
            Resolved(v1::OptimizerConfig::TYPE_ADAMW).ShortDebugString());
  for (const char* given :
       {"optimizer.adamw.eps", "optimizer.momentum", "optimizer.newton_schulz_steps"}) {
    v1::JobConfig config = CompleteConfig();
    config.mutable_optimizer()->set_type(v1::OptimizerConfig::TYPE_MUON);
    ASSERT_TRUE(
        SetField(given, absl::EndsWith(given, "steps") ? "3" : "0.5", &config).violations.empty());
    ApplyDefaults(&config);
    config.mutable_optimizer()->set_type(v1::OptimizerConfig::TYPE_ADAMW);
    const std::string path =
        absl::StartsWith(given, "optimizer.adamw.") ? "optimizer.adamw" : given;
    const std::vector<std::string> faults = FaultsAt(path, config);
    ASSERT_EQ(faults.size(), 1u) << given;
    EXPECT_TRUE(absl::StartsWith(faults[0], "applies only with type: ")) << faults[0];
    EXPECT_TRUE(absl::StrContains(faults[0], "type: muon; remove it")) << faults[0];
  }
}

TEST(KnobRulesTest, RangesReadWell) {
  const auto range = [](const google::protobuf::Descriptor* descriptor, const char* name) {
    return RangeText(*descriptor->FindFieldByName(name));
  };
  EXPECT_EQ(range(v1::DataConfig::descriptor(), "max_length"), "8 to 1048576 tokens");
  EXPECT_EQ(range(v1::OptimizerConfig::descriptor(), "eps"), "above 0 to 1");
  EXPECT_EQ(range(v1::OptimizerConfig::descriptor(), "betas"), "0 to below 1");
  EXPECT_EQ(range(v1::EvaluationConfig::descriptor(), "every_steps"), "at least 0 steps");
  EXPECT_EQ(range(v1::ModelConfig::descriptor(), "path"), "");
}

}  // namespace
}  // namespace trainerd
