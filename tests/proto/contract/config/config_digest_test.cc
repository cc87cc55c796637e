// SPDX-License-Identifier: Apache-2.0
// Expectations: a canonical text written by hand; for every knob, that changing it alone changes
// the digest exactly when knob.identity says so.
#include "proto/contract/config/config_digest.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "proto/base/hash.h"
#include "proto/contract/config/config_paths.h"
#include "proto/contract/config/rules/job_config_rules.h"
#include "proto/contract/job_file/yaml_to_proto.h"
#include "tests/proto/contract/config/knob_fields.h"

namespace trainerd {
namespace {

v1::JobConfig Resolve(const v1::JobConfig& config) {
  std::vector<ConfigViolation> violations;
  return ResolveJobConfig(config, {.now = absl::UnixEpoch()}, &violations).config();
}

TEST(ConfigDigestTest, CanonicalTextIsSortedAndShortest) {
  v1::JobConfig config;
  config.set_name("x");
  config.mutable_model()->set_path("/m");
  config.mutable_train()->set_seed(42);
  config.mutable_train()->set_batch_size(4);
  config.mutable_optimizer()->set_learning_rate(0.0002);
  config.mutable_optimizer()->add_betas(0.9);
  config.mutable_optimizer()->add_betas(0.999);
  config.mutable_data()->add_train()->set_path("/a");
  config.mutable_data()->add_train()->set_weight(0.5);
  config.mutable_data()->set_shuffle(false);
  config.mutable_data()->set_system_prompt("a \"b\"\n");
  const std::string expected =
      R"({"data":{"shuffle":false,"system_prompt":"a \"b\"\u000a","train":[{},{"weight":0.5}]},)"
      R"("optimizer":{"betas":[0.9,0.999],"learning_rate":2e-04},)"
      R"("train":{"batch_size":4,"seed":42}})";
  EXPECT_EQ(CanonicalJson(config), expected);
  EXPECT_EQ(ConfigDigest(config), Sha256(CanonicalJson(config)));
  EXPECT_EQ(CanonicalJson(v1::JobConfig()), "{}");
}

// Digests that commit 9b9b40e computed, in which the words of a job file were still texts. Jobs and
// checkpoints of that version hold them.
TEST(ConfigDigestTest, StaysTheSameAcrossVersions) {
  const auto digest = [](const char* yaml) {
    v1::JobConfig config;
    EXPECT_EQ(ViolationsText(YamlToMessage(yaml, &config).violations), "");
    return ToHex(ConfigDigest(Resolve(config)));
  };
  EXPECT_EQ(digest("model: {path: /m}\ndata: {train: /d.jsonl}"),
            "d0288d6177da9a40612b812f3fe808949d6e135b7e26ed319923cb56c6beb24f");
  EXPECT_EQ(digest(R"(
name: everything
labels: {team: x}
model: {path: /m}
data:
  train: [{path: /a.jsonl, weight: 0.5}, /b.jsonl]
  validation: /v.jsonl
  max_length: 512
  too_long: skip
  bad_rows: skip
  packing: none
  profile: emoji_think
  train_on: last_assistant
  control_tokens: as_text
  system_prompt: "It is {date}."
  findings: {no_target: error, no_assistant: ignore, overlap: error, untrained_piece: ignore}
train: {precision: fp32, batch_size: 2, max_steps: 9, on_non_finite: fail}
optimizer: {type: adamw, learning_rate: 3e-4}
schedule: {type: linear, warmup_steps: 2}
init_from: {checkpoint: jobs/4f, state: weights}
)"),
            "0773fb10723a15cde498c24b43823b0fc0a3e19d2b6c987343866e50e0562cda");
}

// A job that an older build resolved has no value of a newer key, and continues here.
TEST(ConfigDigestTest, NewerKeyAtItsDefaultChangesNothing) {
  const v1::JobConfig now = Resolve(testing::CompleteConfig());
  ASSERT_TRUE(now.schedule().has_min_ratio());
  v1::JobConfig older = now;
  older.mutable_schedule()->clear_min_ratio();
  EXPECT_EQ(ConfigDigest(older), ConfigDigest(now));
  EXPECT_TRUE(IdentityDifferences(now, older).empty());
  older.mutable_schedule()->set_min_ratio(0.5);
  EXPECT_NE(ConfigDigest(older), ConfigDigest(now));
  ASSERT_EQ(IdentityDifferences(now, older).size(), 1u);
  EXPECT_EQ(IdentityDifferences(now, older)[0].path, "schedule.min_ratio");
}

// Number of keys with a default that apply, themselves or by their group, with exactly one of the
// two values of `key`.
size_t KeysOfOneValue(const testing::KnobField& key, const std::string& a, const std::string& b) {
  size_t keys = 0;
  for (const testing::KnobField& knob : testing::AllKnobFields(*v1::JobConfig::descriptor())) {
    if (!KnobOf(*knob.field).has_default_()) continue;
    const auto applies = [&](const std::string& value) {
      bool found = false;
      std::string section;
      v1::JobConfig config;
      testing::ForEachFieldOnPath(knob, &config, [&](auto* /*message*/, const auto& field) {
        const auto& conditions = KnobOf(field).only_with();
        found = found || (section == key.section &&
                          std::count(conditions.begin(), conditions.end(),
                                     absl::StrCat(key.field->name(), "=", value)) > 0);
        section = JoinPath(section, std::string(field.name()));
      });
      return found;
    };
    keys += applies(a) != applies(b);
  }
  return keys;
}

TEST(ConfigDigestTest, EveryKnobAloneChangesItIffItIsPartOfTheIdentity) {
  int in_identity = 0;
  for (const testing::KnobField& knob : testing::AllKnobFields(*v1::JobConfig::descriptor())) {
    const v1::Knob& options = KnobOf(*knob.field);
    const bool identity = !options.has_identity() || options.identity();
    in_identity += identity;
    for (const std::string& value : testing::OtherValues(*knob.field)) {
      v1::JobConfig changed = testing::CompleteConfig();
      testing::MakeApply(knob, &changed);
      const v1::JobConfig base = Resolve(changed);
      ASSERT_EQ(ViolationsText(SetField(knob.path, value, &changed).violations), "") << knob.path;
      changed = Resolve(changed);
      EXPECT_EQ(ConfigDigest(changed) != ConfigDigest(base), identity)
          << knob.path << " = " << value;
      // The length of a run is part of the digest but no difference of identity.
      const bool length = knob.path == "train.max_steps" || knob.path == "train.epochs";
      std::vector<ConfigDifference> differences = IdentityDifferences(changed, base);
      // A type brings and removes the keys that apply only with it.
      if (knob.field->name() == "type") {
        EXPECT_EQ(differences.size(), 1 + KeysOfOneValue(knob, options.default_(), value));
        std::erase_if(differences, [&](const auto& d) { return d.path != knob.path; });
      }
      ASSERT_EQ(differences.size(), identity && !length ? 1u : 0u) << knob.path << " = " << value;
      if (identity && !length) {
        EXPECT_EQ(differences[0].path, knob.path);
      }
    }
  }
  EXPECT_GT(in_identity, 20);
}

TEST(ConfigDigestTest, SourcesCountByNumberAndWeight) {
  v1::JobConfig one = testing::CompleteConfig();
  v1::JobConfig two = one;
  two.mutable_data()->add_train()->set_path("/data/b.jsonl");
  EXPECT_NE(ConfigDigest(Resolve(one)), ConfigDigest(Resolve(two)));
  const std::vector<ConfigDifference> differences = IdentityDifferences(Resolve(one), Resolve(two));
  ASSERT_EQ(differences.size(), 2u);
  EXPECT_EQ(differences[0].path, "data.train");
  EXPECT_EQ(differences[0].ours, "list of 1");
  EXPECT_EQ(differences[0].theirs, "list of 2");
  EXPECT_EQ(differences[1].path, "data.train[1].weight");
  EXPECT_EQ(differences[1].ours, "absent");
  EXPECT_EQ(differences[1].theirs, "1");
}

TEST(ConfigDigestTest, GivenAndDefaultAreTheSame) {
  v1::JobConfig given = testing::CompleteConfig();
  given.mutable_train()->set_seed(42);
  given.mutable_optimizer()->set_learning_rate(2e-5);
  EXPECT_EQ(ConfigDigest(Resolve(given)), ConfigDigest(Resolve(testing::CompleteConfig())));
}

TEST(ConfigDigestTest, MomentOfSubmissionIsNotPartOfIt) {
  std::vector<ConfigViolation> violations;
  const auto then =
      ResolveJobConfig(testing::CompleteConfig(), {.now = absl::FromUnixSeconds(1)}, &violations);
  const auto later = ResolveJobConfig(testing::CompleteConfig(),
                                      {.now = absl::FromUnixSeconds(1000000)}, &violations);
  EXPECT_NE(then.config().data().now(), later.config().data().now());
  EXPECT_EQ(then.config_digest(), later.config_digest());
}

TEST(ConfigDigestTest, DifferencesShowBothValuesAsJson) {
  v1::JobConfig ours = Resolve(testing::CompleteConfig());
  v1::JobConfig theirs = ours;
  theirs.mutable_data()->set_packing(v1::DataConfig::PACKING_NONE);
  theirs.clear_init_from();
  const std::vector<ConfigDifference> differences = IdentityDifferences(ours, theirs);
  ASSERT_EQ(differences.size(), 3u);
  EXPECT_EQ(differences[0].path, "data.packing");
  EXPECT_EQ(differences[0].ours, "\"bfd\"");
  EXPECT_EQ(differences[0].theirs, "\"none\"");
  EXPECT_EQ(differences[1].path, "init_from.checkpoint");
  EXPECT_EQ(differences[1].theirs, "absent");
}

}  // namespace
}  // namespace trainerd
