// SPDX-License-Identifier: Apache-2.0
// Expectations: texts written by hand, and reading back what was written, for every knob and for
// texts made to be misread.
#include "proto/contract/job_file/message_to_yaml.h"

#include <gtest/gtest.h>

#include <limits>
#include <random>
#include <regex>

#include "google/protobuf/util/message_differencer.h"
#include "proto/base/plain_text.h"
#include "proto/contract/job_file/yaml_to_proto.h"
#include "tests/proto/contract/config/knob_fields.h"
#include "trainerd/v1/job.pb.h"

namespace trainerd {
namespace {

using google::protobuf::util::MessageDifferencer;

void ExpectRoundTrip(const google::protobuf::Message& message) {
  const std::string yaml = MessageToYaml(message);
  std::unique_ptr<google::protobuf::Message> back(message.New());
  const YamlResult result = YamlToMessage(yaml, back.get());
  EXPECT_EQ(ViolationsText(result.violations), "") << yaml;
  EXPECT_TRUE(MessageDifferencer::Equals(message, *back)) << yaml << "\n" << back->DebugString();
  EXPECT_EQ(MessageToYaml(*back), yaml);
}

TEST(MessageToYamlTest, WritesKeysInFieldOrderAndMarksDefaults) {
  v1::JobConfig config;
  config.set_name("alpaca: sft");
  (*config.mutable_labels())["team"] = "x";
  (*config.mutable_labels())["a b"] = "1";
  config.mutable_data()->add_train()->set_path("/data/a.jsonl");
  config.mutable_data()->mutable_train(0)->set_weight(0.5);
  config.mutable_data()->add_train()->set_path("b.jsonl");
  config.mutable_data()->set_system_prompt("");
  config.mutable_optimizer()->add_betas(0.9);
  config.mutable_optimizer()->add_betas(0.999);
  config.mutable_limits()->mutable_stop_grace()->set_seconds(300);
  config.mutable_evaluation();
  const std::vector<std::string> given = {"name", "labels.team", "data.train[0].path",
                                          "data.train[1].path"};
  EXPECT_EQ(MessageToYaml(config, &given),
            "name: \"alpaca: sft\"\n"
            "labels:\n"
            "  \"a b\": \"1\"  # default\n"
            "  team: x\n"
            "data:\n"
            "  train:\n"
            "    - path: /data/a.jsonl\n"
            "      weight: 0.5  # default\n"
            "    - path: b.jsonl\n"
            "  system_prompt: \"\"  # default\n"
            "optimizer:\n"
            "  betas: [0.9, 0.999]  # default\n"
            "evaluation: {}\n"
            "limits:\n"
            "  stop_grace: 300s  # default\n");
  EXPECT_EQ(MessageToYaml(config).find('#'), std::string::npos);
  EXPECT_EQ(MessageToYaml(v1::JobConfig()), "{}\n");
}

TEST(MessageToYamlTest, EveryKnobReadsBackEqual) {
  for (const testing::KnobField& knob : testing::AllKnobFields(*v1::JobConfig::descriptor())) {
    for (const std::string& value : testing::OtherValues(*knob.field)) {
      v1::JobConfig config = testing::CompleteConfig();
      ASSERT_EQ(ViolationsText(SetField(knob.path, value, &config).violations), "") << knob.path;
      SCOPED_TRACE(knob.path);
      ExpectRoundTrip(config);
    }
  }
}

TEST(MessageToYamlTest, TextsThatLookLikeSomethingElseReadBackEqual) {
  std::vector<std::string> texts = {"",
                                    " ",
                                    "~",
                                    "null",
                                    "true",
                                    "No",
                                    "123",
                                    "-1.5e3",
                                    "0x1f",
                                    "1:30",
                                    "2026-01-01",
                                    ".inf",
                                    "a: b",
                                    "a #b",
                                    "#c",
                                    "- x",
                                    "? x",
                                    "[a",
                                    "{a",
                                    "*a",
                                    "&a",
                                    "!a",
                                    "|",
                                    ">",
                                    "%a",
                                    "@a",
                                    "`a",
                                    "'a'",
                                    "\"a\"",
                                    "a\\nb",
                                    "a\nb\n",
                                    "\ta",
                                    "a\r\nb",
                                    "a ",
                                    "...",
                                    "---",
                                    std::string("nul\0byte", 8),
                                    "\x01\x1f\x7f",
                                    "ä€😀",
                                    "\xc2\x85\xe2\x80\xa8\xef\xbb\xbf",
                                    std::string(5000, 'x'),
                                    "<<",
                                    "="};
  std::mt19937 random(11);
  for (int i = 0; i < 300; ++i) {
    std::string text;
    for (unsigned length = random() % 12; length > 0; --length)
      text += static_cast<char>(random() % 128);
    texts.push_back(text);
  }
  for (const std::string& text : texts) {
    v1::JobConfig config;
    config.set_name(text);
    // YAML keys end at 1,024 bytes.
    if (text.size() <= 1000) (*config.mutable_labels())[text] = text;
    config.mutable_data()->add_train()->set_path(text);
    config.mutable_data()->set_system_prompt(text);
    ExpectRoundTrip(config);
  }
}

// A prompt and a label's value of an earlier version can hold any character.
TEST(MessageToYamlTest, WritesControlCharactersAsEscapes) {
  for (const char* text : {"\x1b[2J", "a\xc2\x85",
                           "\xc2\x9b"
                           "31m",
                           "x\xe2\x80\xae"
                           "y",
                           "\xe2\x80\xa8", "\xe2\x80\xa9", "\xd8\x9c", "\xe2\x81\xa6", "\x7f"}) {
    v1::JobConfig config;
    config.mutable_data()->set_system_prompt(text);
    (*config.mutable_labels())[text] = text;
    std::string yaml = MessageToYaml(config);
    EXPECT_EQ(yaml, PlainTextLines(yaml));
    ExpectRoundTrip(config);
  }
}

TEST(MessageToYamlTest, NumbersReadBackBitForBit) {
  std::mt19937_64 random(5);
  std::vector<double> values = {0.0,
                                -0.0,
                                1e-8,
                                2e-5,
                                0.1,
                                1.0 / 3,
                                1e300,
                                5e-324,
                                std::numeric_limits<double>::max(),
                                123456789012345680.0};
  for (int i = 0; i < 300; ++i)
    values.push_back(
        std::ldexp(static_cast<double>(random()), static_cast<int>(random() % 200) - 150));
  for (const double value : values) {
    v1::JobConfig config;
    config.mutable_optimizer()->set_learning_rate(value);
    config.mutable_optimizer()->add_betas(value);
    config.mutable_train()->set_seed(static_cast<int64_t>(random()));
    ExpectRoundTrip(config);
  }
}

// PyYAML reads YAML 1.1: a number with an exponent needs a point and a signed exponent. The pattern
// is that of its resolver.
TEST(MessageToYamlTest, NumbersAreNumbersInYaml11) {
  const std::regex number(
      R"([-+]?(?:0|[1-9][0-9_]*)|[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?)");
  for (const double value :
       {2e-5, 1e-8, 1e300, 5e-324, -3e-7, 1.5e-7, 1.0, 0.25, 123456789.0, 1e21, -0.0}) {
    v1::JobConfig config;
    config.mutable_optimizer()->set_learning_rate(value);
    const std::string yaml = MessageToYaml(config);
    const size_t begin = yaml.find("learning_rate: ") + 15;
    const std::string text = yaml.substr(begin, yaml.find('\n', begin) - begin);
    EXPECT_TRUE(std::regex_match(text, number)) << text;
  }
  v1::JobConfig config;
  config.mutable_optimizer()->set_learning_rate(2e-5);
  EXPECT_EQ(MessageToYaml(config), "optimizer:\n  learning_rate: 2.0e-05\n");
}

TEST(MessageToYamlTest, DurationsReadBackToTheNanosecond) {
  for (const auto& [seconds, nanos] : std::vector<std::pair<int64_t, int32_t>>{
           {0, 0}, {0, 1}, {1, 999999999}, {315576000000, 0}, {-1, -500000000}, {86400, 1000}}) {
    v1::JobConfig config;
    config.mutable_limits()->mutable_stop_grace()->set_seconds(seconds);
    config.mutable_limits()->mutable_stop_grace()->set_nanos(nanos);
    ExpectRoundTrip(config);
  }
}

// Field numbers do not decide: packing has a larger one than now.
TEST(MessageToYamlTest, WritesKeysInOrderOfTheProtoFile) {
  v1::JobConfig config;
  config.mutable_data()->set_packing(v1::DataConfig::PACKING_NONE);
  config.mutable_data()->set_now("2031-02-03 04:05:06");
  config.mutable_data()->set_max_length(8);
  EXPECT_EQ(MessageToYaml(config),
            "data:\n  max_length: 8\n  packing: none\n  now: \"2031-02-03 04:05:06\"\n");
}

TEST(MessageToYamlTest, WholeJobReadsBackEqual) {
  v1::Job job;
  job.set_name("jobs/4f");
  job.set_state(v1::Job::PAUSED);
  job.set_config_digest(std::string("\x00\xff\x10", 3));
  *job.mutable_config() = testing::CompleteConfig();
  job.add_given("model.path");
  job.mutable_create_time()->set_seconds(1700000000);
  job.mutable_create_time()->set_nanos(123000000);
  job.add_conditions()->set_type("Stalled");
  job.mutable_conditions(0)->set_active(true);
  job.add_conditions();
  job.mutable_progress()->set_loss(1.5);
  ExpectRoundTrip(job);
}

}  // namespace
}  // namespace trainerd
