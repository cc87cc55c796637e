// SPDX-License-Identifier: Apache-2.0
// Expectations: written by hand from the rules in yaml_to_proto.h.
#include "proto/contract/job_file/yaml_to_proto.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "trainerd/v1/job_config.pb.h"

namespace trainerd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// The faults of a file, one a line, as people see them.
std::string Faults(const std::string& yaml) {
  v1::JobConfig config;
  return ViolationsText(YamlToMessage(yaml, &config).violations, "f");
}

v1::JobConfig Read(const std::string& yaml) {
  v1::JobConfig config;
  EXPECT_EQ(ViolationsText(YamlToMessage(yaml, &config).violations), "") << yaml;
  return config;
}

TEST(YamlToMessageTest, ReadsEveryKindOfField) {
  const v1::JobConfig config = Read(R"(
name: "alpaca"   # a comment
labels: {team: x, "n": 5}
model:
  path: models/m
data:
  train: [a.jsonl, {path: b.jsonl, weight: 0.5}]
  shuffle: false
  system_prompt: |
    two
    lines
train:
  batch_size: 8
  epochs: .5
  max_steps: 1e3
optimizer:
  learning_rate: 2.0e-4
  betas: [0.9, 0.95]
limits: {stop_grace: 5m, max_run_time: 1h30m}
)");
  EXPECT_EQ(config.name(), "alpaca");
  EXPECT_EQ(config.labels().at("team"), "x");
  EXPECT_EQ(config.labels().at("n"), "5");
  EXPECT_EQ(config.data().train(0).path(), "a.jsonl");
  EXPECT_FALSE(config.data().train(0).has_weight());
  EXPECT_EQ(config.data().train(1).weight(), 0.5);
  EXPECT_TRUE(config.data().has_shuffle());
  EXPECT_FALSE(config.data().shuffle());
  EXPECT_EQ(config.data().system_prompt(), "two\nlines\n");
  EXPECT_EQ(config.train().batch_size(), 8);
  EXPECT_EQ(config.train().epochs(), 0.5);
  EXPECT_EQ(config.train().max_steps(), 1000);
  EXPECT_FALSE(config.train().has_seed());
  EXPECT_EQ(config.optimizer().learning_rate(), 2e-4);
  EXPECT_THAT(config.optimizer().betas(), ElementsAre(0.9, 0.95));
  EXPECT_EQ(config.limits().stop_grace().seconds(), 300);
  EXPECT_EQ(config.limits().max_run_time().seconds(), 5400);
}

TEST(YamlToMessageTest, ThreeFaultsGiveThreePathsWithTheirLines) {
  v1::JobConfig config;
  const YamlResult result = YamlToMessage(
      "name: x\noptimizer:\n  lerning_rate: 1\ntrain:\n  seed: many\n  shuffle: true\n", &config);
  ASSERT_EQ(result.violations.size(), 3u);
  EXPECT_EQ(result.violations[0].path, "optimizer.lerning_rate");
  EXPECT_EQ(result.violations[0].line, 3);
  EXPECT_EQ(result.violations[0].message,
            "unknown key \"lerning_rate\" in optimizer; did you mean \"learning_rate\"?");
  EXPECT_EQ(result.violations[1].path, "train.seed");
  EXPECT_EQ(result.violations[1].line, 5);
  EXPECT_EQ(result.violations[1].message, "\"many\" is not a whole number");
  EXPECT_EQ(result.violations[2].path, "train.shuffle");
  EXPECT_EQ(result.violations[2].line, 6);
  EXPECT_EQ(result.violations[2].message,
            "unknown key \"shuffle\" in train; did you mean \"data.shuffle\"?");
  // What was understood is there.
  EXPECT_EQ(config.name(), "x");
}

TEST(YamlToMessageTest, UnknownKeyWithoutANeighbourListsTheKeys) {
  EXPECT_EQ(Faults("model: {pfad_zum_modell: m}"),
            "f:1: model.pfad_zum_modell: unknown key \"pfad_zum_modell\" in model; the keys are "
            "path, quantization");
  EXPECT_EQ(Faults("zzzzzzzz: 1")
                .find("f:1: zzzzzzzz: unknown key \"zzzzzzzz\" at the top level; the keys are "
                      "name, labels"),
            0u);
  // Names of C++ or of extensions are no keys.
  EXPECT_THAT(Faults("train: {has_seed: 1}"), HasSubstr("unknown key"));
  EXPECT_THAT(Faults("\"train.seed\": 1"),
              HasSubstr("unknown key \"train.seed\" at the top level"));
}

TEST(YamlToMessageTest, DuplicateKeysAreFaults) {
  EXPECT_EQ(Faults("train:\n  seed: 1\n  seed: 1\n"),
            "f:3: train.seed: duplicate key \"seed\"; keep one of them");
  EXPECT_EQ(Faults("train: {seed: 1}\ntrain: {seed: 2}\n"),
            "f:2: train: duplicate key \"train\"; keep one of them");
  EXPECT_EQ(Faults("labels: {a: 1, a: 2}"), "f:1: labels.a: duplicate key \"a\"; keep one of them");
  EXPECT_EQ(Faults("nme: 1\nnme: 2"),
            "f:1: nme: unknown key \"nme\" at the top level; did you mean \"name\"?\nf:2: nme: "
            "duplicate key \"nme\"; keep one of them");
}

TEST(YamlToMessageTest, WrongTypesAreFaults) {
  EXPECT_EQ(Faults("train: {seed: 1.5}"), "f:1: train.seed: \"1.5\" is not a whole number");
  EXPECT_EQ(Faults("train: {seed: 0x10}"), "f:1: train.seed: \"0x10\" is not a whole number");
  EXPECT_EQ(Faults("train: {seed: 99999999999999999999}"),
            "f:1: train.seed: \"99999999999999999999\" does not fit a whole number of 64 bits");
  EXPECT_EQ(Faults("train: {batch_size: 3000000000}"),
            "f:1: train.batch_size: \"3000000000\" does not fit a whole number of 32 bits");
  EXPECT_EQ(Faults("train: {seed: \"7\"}"),
            "f:1: train.seed: \"7\" is text, not a whole number; leave the quotes out");
  EXPECT_EQ(Faults("train: {seed: [1]}"), "f:1: train.seed: expected a whole number, found a list");
  EXPECT_EQ(
      Faults("train: {seed: }"),
      "f:1: train.seed: has no value, expected a whole number; leave the key out for its default");
  EXPECT_EQ(Faults("data: {shuffle: yes}"), "f:1: data.shuffle: \"yes\" is not true or false");
  EXPECT_EQ(Faults("optimizer: {learning_rate: .inf}"),
            "f:1: optimizer.learning_rate: \".inf\" is not a finite number");
  EXPECT_EQ(Faults("optimizer: {learning_rate: nan}"),
            "f:1: optimizer.learning_rate: \"nan\" is not a finite number");
  EXPECT_EQ(Faults("optimizer: {learning_rate: 1e999}"),
            "f:1: optimizer.learning_rate: \"1e999\" is not a finite number");
  EXPECT_EQ(Faults("name: [a]"), "f:1: name: expected text, found a list");
  EXPECT_EQ(Faults("name: {a: b}"), "f:1: name: expected text, found a group of keys");
  EXPECT_EQ(Faults("name: ~"),
            "f:1: name: has no value, expected text; leave the key out for its default");
  EXPECT_EQ(Faults("model: a/b"),
            "f:1: model: expected a group of keys, found \"a/b\"; write for example model: {path: "
            "…}");
  EXPECT_EQ(Faults("labels: [a]"), "f:1: labels: expected a group of keys, found a list");
  EXPECT_EQ(Faults("limits: {stop_grace: 300}"),
            "f:1: limits.stop_grace: \"300\" is not a duration; write for example 300s, 5m or 2h");
  EXPECT_EQ(Faults("limits: {stop_grace: inf}"),
            "f:1: limits.stop_grace: \"inf\" is not a duration; write for example 300s, 5m or 2h");
  EXPECT_EQ(Faults("- a"),
            "f:1: expected a group of keys, found a list; a job file holds keys such as model: "
            "{path: …}, and names data files in data.train");
  EXPECT_EQ(Faults("prompt,answer"),
            "f:1: expected a group of keys, found \"prompt,answer\"; a job file holds keys such as "
            "model: {path: …}, and names data files in data.train");
  EXPECT_EQ(Faults("? [a]\n: 1"), "f:1: a key must be plain text");
  EXPECT_EQ(Faults("name: \"\\xff\""), "") << "an escape is a code point, not a byte";
  EXPECT_EQ(Faults("name: a\xff"),
            "f:1: name: the text is not valid UTF-8; save the file as UTF-8");
}

TEST(YamlToMessageTest, TextTakesAnyScalar) {
  EXPECT_EQ(Read("name: 123").name(), "123");
  EXPECT_EQ(Read("name: true").name(), "true");
  EXPECT_EQ(Read("name: 'null'").name(), "null");
  EXPECT_EQ(Read("name: \"\"").name(), "");
}

TEST(YamlToMessageTest, ShortForms) {
  EXPECT_EQ(Read("data: {train: a.jsonl}").data().train(0).path(), "a.jsonl");
  EXPECT_EQ(Read("data: {train: {path: a.jsonl, weight: 2}}").data().train(0).weight(), 2);
  EXPECT_THAT(Read("optimizer: {betas: 0.5}").optimizer().betas(), ElementsAre(0.5));
  EXPECT_EQ(Faults("data: {train: [a, [b], ~]}"),
            "f:1: data.train[1]: expected a path or a group of keys in data.train, found a list\n"
            "f:1: data.train[2]: expected a path or a group of keys in data.train, found nothing");
  EXPECT_EQ(Faults("data:\n  train:\n  - path: a\n    wieght: 2"),
            "f:4: data.train[0].wieght: unknown key \"wieght\" in data.train[0]; did you mean "
            "\"weight\"?");
}

TEST(YamlToMessageTest, GivenAndLines) {
  v1::JobConfig config;
  const YamlResult result = YamlToMessage(
      "train:\n  seed: 1\nname: x\nlabels:\n  b: 1\ndata:\n  train:\n  - a\n  - path: "
      "b\noptimizer:\n  betas: [0.1, 0.2]\n",
      &config);
  EXPECT_THAT(result.given, ElementsAre("train.seed", "name", "labels.b", "data.train[0].path",
                                        "data.train[1].path", "optimizer.betas"));
  EXPECT_EQ(result.lines.at("train"), 1);
  EXPECT_EQ(result.lines.at("train.seed"), 2);
  EXPECT_EQ(result.lines.at("labels.b"), 5);
  EXPECT_EQ(result.lines.at("data.train"), 7);
  EXPECT_EQ(result.lines.at("data.train[0]"), 8);
  EXPECT_EQ(result.lines.at("data.train[0].path"), 8);
  EXPECT_EQ(result.lines.at("data.train[1].path"), 9);
}

TEST(YamlToMessageTest, EmptyFilesAndSectionsGiveNothing) {
  for (const char* yaml : {"", "# only a comment\n", "---\n", "train:\n", "{}", "init_from: ~"}) {
    const v1::JobConfig config = Read(yaml);
    EXPECT_FALSE(config.has_init_from()) << yaml;
    EXPECT_EQ(config.ByteSizeLong(), 0u) << yaml;
  }
}

TEST(YamlToMessageTest, BrokenYamlSaysWhere) {
  EXPECT_THAT(Faults("name: x\ntrain: {seed: 1\n"), HasSubstr("cannot be read as YAML"));
  EXPECT_THAT(Faults("name: x\n\ttrain: 1\n"), HasSubstr("f:2: cannot be read as YAML"));
  EXPECT_THAT(Faults("name: a\n---\nname: b\n"), HasSubstr("2 documents"));
  EXPECT_THAT(Faults("name: *nothing"), HasSubstr("cannot be read as YAML"));
}

TEST(YamlToMessageTest, LimitsHoldAgainstHostileFiles) {
  EXPECT_THAT(Faults(std::string((4 << 20) + 1, '#')), HasSubstr("more than 4194304"));
  EXPECT_THAT(Faults("name: " + std::string(100000, '[')), HasSubstr("cannot be read as YAML"));
  // Aliases that would unfold to 10^9 values.
  std::string bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n";
  for (int i = 1; i < 9; ++i) {
    bomb += absl::StrCat("a", i, ": &a", i, " [");
    for (int k = 0; k < 10; ++k) absl::StrAppend(&bomb, k == 0 ? "" : ",", "*a", i - 1);
    bomb += "]\n";
  }
  bomb += "data: {train: *a8}\noptimizer: {betas: *a8}\n";
  EXPECT_NE(Faults(bomb), "");
  // An anchor that contains itself.
  EXPECT_NE(Faults("data: &d\n  train: [*d]\n"), "");
  v1::JobConfig config;
  std::string many;
  for (int i = 0; i < 5000; ++i) absl::StrAppend(&many, "unknown", i, ": 1\n");
  EXPECT_EQ(YamlToMessage(many, &config).violations.size(), 101u);
  EXPECT_EQ(YamlToMessage(many, &config).violations.back().message,
            "too many violations; the rest is omitted");
  std::string wide = "data: {train: [a";
  for (int i = 0; i < 120000; ++i) wide += ",a";
  EXPECT_THAT(Faults(wide + "]}"), HasSubstr("more than 100000 values"));
}

TEST(YamlToMessageTest, AliasesWithinTheLimitsWork) {
  const v1::JobConfig config = Read("model: {path: &p models/m}\noutput: {path: *p}\n");
  EXPECT_EQ(config.output().path(), "models/m");
}

std::string Set(const std::string& path, const std::string& value, v1::JobConfig* config) {
  const YamlResult result = SetField(path, value, config);
  for (const ConfigViolation& violation : result.violations) EXPECT_EQ(violation.line, 0);
  return ViolationsText(result.violations);
}

TEST(SetFieldTest, SetsScalarsListsGroupsAndEntries) {
  v1::JobConfig config;
  EXPECT_EQ(Set("train.max_steps", "20", &config), "");
  EXPECT_EQ(config.train().max_steps(), 20);
  EXPECT_EQ(Set("data.train", "[a.jsonl, b.jsonl]", &config), "");
  EXPECT_EQ(Set("data.train", "[a.jsonl]", &config), "");
  EXPECT_EQ(config.data().train_size(), 1);
  EXPECT_EQ(Set("data.train[0].weight", "0.5", &config), "");
  EXPECT_EQ(Set("data.train[1]", "{path: c.jsonl}", &config), "");
  EXPECT_EQ(config.data().train(0).weight(), 0.5);
  EXPECT_EQ(config.data().train(1).path(), "c.jsonl");
  EXPECT_EQ(Set("optimizer.betas", "[0.8, 0.9]", &config), "");
  EXPECT_THAT(config.optimizer().betas(), ElementsAre(0.8, 0.9));
  EXPECT_EQ(Set("labels.team", "x", &config), "");
  EXPECT_EQ(Set("labels.team", "y", &config), "");
  EXPECT_EQ(Set("labels.a.b", "1", &config), "");
  EXPECT_EQ(config.labels().at("team"), "y");
  EXPECT_EQ(config.labels().at("a.b"), "1");
  EXPECT_EQ(config.labels_size(), 2);
  EXPECT_EQ(Set("evaluation", "{every_steps: 5}", &config), "");
  EXPECT_EQ(Set("evaluation.at_end", "false", &config), "");
  EXPECT_EQ(config.evaluation().every_steps(), 5);
  EXPECT_EQ(Set("limits.stop_grace", "10s", &config), "");
  EXPECT_EQ(config.limits().stop_grace().seconds(), 10);
}

TEST(SetFieldTest, TextIsTakenAsItStands) {
  v1::JobConfig config;
  for (const std::string& text : {std::string("You are: kind # really"), std::string(""),
                                  std::string("[x"), std::string("null"), std::string("- a")}) {
    EXPECT_EQ(Set("data.system_prompt", text, &config), "");
    EXPECT_EQ(config.data().system_prompt(), text);
    EXPECT_TRUE(config.data().has_system_prompt());
  }
  EXPECT_EQ(Set("data.system_prompt", "\"two\\nlines\"", &config), "");
  EXPECT_EQ(config.data().system_prompt(), "two\nlines");
}

TEST(SetFieldTest, SaysWhatIsWrong) {
  v1::JobConfig config;
  EXPECT_EQ(Set("optimizer.lerning_rate", "1", &config),
            "optimizer.lerning_rate: unknown key \"lerning_rate\" in optimizer; did you mean "
            "\"learning_rate\"?");
  EXPECT_EQ(Set("train.seed", "x", &config), "train.seed: \"x\" is not a whole number");
  EXPECT_THAT(Set("train.seed", "[", &config), HasSubstr("cannot be read as YAML"));
  EXPECT_THAT(Set("data.train.path", "x", &config), HasSubstr("is a list: say which element"));
  EXPECT_THAT(Set("data.train[5].path", "x", &config), HasSubstr("beyond its end"));
  EXPECT_THAT(Set("optimizer.betas[0]", "0.5", &config), HasSubstr("is set as a whole"));
  EXPECT_THAT(Set("train.seed.x", "1", &config), HasSubstr("has no keys below it"));
  EXPECT_THAT(Set("train[0].seed", "1", &config), HasSubstr("is not a list"));
  for (const char* path :
       {"", ".", "train.", "data.train[x].path", "data.train[-1].path", "data.train[0.path"}) {
    EXPECT_NE(Set(path, "1", &config), "") << path;
  }
}

TEST(SetFieldTest, GivenNamesTheField) {
  v1::JobConfig config;
  EXPECT_THAT(SetField("train.max_steps", "20", &config).given, ElementsAre("train.max_steps"));
  EXPECT_THAT(SetField("name", "x", &config).given, ElementsAre("name"));
  EXPECT_THAT(SetField("labels.team", "x", &config).given, ElementsAre("labels.team"));
  EXPECT_THAT(SetField("data.train", "a", &config).given, ElementsAre("data.train[0].path"));
  EXPECT_THAT(SetField("train.seed", "x", &config).given, IsEmpty());
}

}  // namespace
}  // namespace trainerd
