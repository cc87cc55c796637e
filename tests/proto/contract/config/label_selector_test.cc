// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/config/label_selector.h"

#include <map>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace trainerd {
namespace {

using ::testing::HasSubstr;
using Labels = std::map<std::string, std::string>;

bool Matches(const std::string& text, const Labels& labels) {
  const absl::StatusOr<LabelSelector> selector = ParseLabelSelector(text);
  EXPECT_TRUE(selector.ok()) << text << ": " << selector.status();
  if (!selector.ok()) return false;
  return selector->Matches(LabelMap(labels.begin(), labels.end()));
}

TEST(LabelSelectorTest, EmptyTextMatchesEveryJob) {
  EXPECT_TRUE(Matches("", {}));
  EXPECT_TRUE(Matches("   ", {{"a", "b"}}));
}

TEST(LabelSelectorTest, ComparesWithOneValue) {
  for (const char* text : {"team=blue", " team = blue ", "team =blue", "team=\"blue\""}) {
    EXPECT_TRUE(Matches(text, {{"team", "blue"}, {"x", "y"}})) << text;
    EXPECT_FALSE(Matches(text, {{"team", "red"}})) << text;
    EXPECT_FALSE(Matches(text, {{"team", "Blue"}})) << text;
    EXPECT_FALSE(Matches(text, {{"blue", "team"}})) << text;
    EXPECT_FALSE(Matches(text, {})) << text;
  }
}

TEST(LabelSelectorTest, NegationsAlsoMatchAbsentKey) {
  for (const char* text :
       {"team != blue", "team!=blue", "team notin (blue)", "team notin(blue,\"blue\", navy)"}) {
    EXPECT_TRUE(Matches(text, {})) << text;
    EXPECT_TRUE(Matches(text, {{"team", "red"}})) << text;
    EXPECT_TRUE(Matches(text, {{"team", ""}})) << text;
    EXPECT_FALSE(Matches(text, {{"team", "blue"}})) << text;
  }
}

TEST(LabelSelectorTest, ComparesWithSeveralValues) {
  for (const char* text : {"team in (blue, red)", "team in(red,blue)", "team  in  ( blue ,red )"}) {
    EXPECT_TRUE(Matches(text, {{"team", "blue"}})) << text;
    EXPECT_TRUE(Matches(text, {{"team", "red"}})) << text;
    EXPECT_FALSE(Matches(text, {{"team", "green"}})) << text;
    EXPECT_FALSE(Matches(text, {})) << text;
  }
}

TEST(LabelSelectorTest, TestsForPresence) {
  EXPECT_TRUE(Matches("team", {{"team", ""}}));
  EXPECT_FALSE(Matches("team", {{"teams", "a"}}));
  EXPECT_TRUE(Matches("!team", {{"teams", "a"}}));
  EXPECT_FALSE(Matches("! team", {{"team", "a"}}));
}

TEST(LabelSelectorTest, AllRequirementsMustHold) {
  const Labels labels = {{"team", "blue"}, {"run", "7"}};
  EXPECT_TRUE(Matches("team=blue,run=7", labels));
  EXPECT_TRUE(Matches("team = blue , run in (6, 7), !x, y != 1", labels));
  EXPECT_FALSE(Matches("team=blue,run=8", labels));
  EXPECT_FALSE(Matches("team=blue,team=red", labels));
  EXPECT_FALSE(Matches("team=blue,!run", labels));
}

TEST(LabelSelectorTest, QuotesHoldEveryOtherCharacter) {
  EXPECT_TRUE(Matches("a = \"b, c = (d)\"", {{"a", "b, c = (d)"}}));
  EXPECT_TRUE(Matches(R"(a = "say \"hi\" \\ bye")", {{"a", R"(say "hi" \ bye)"}}));
  EXPECT_TRUE(Matches("a = \"\"", {{"a", ""}}));
  EXPECT_FALSE(Matches("a = \"\"", {}));
  EXPECT_TRUE(Matches("a in (\"größe ↑\", x)", {{"a", "größe ↑"}}));
}

TEST(LabelSelectorTest, WordsOfTheGrammarAreKeysAndValuesToo) {
  EXPECT_TRUE(Matches("in in (in)", {{"in", "in"}}));
  EXPECT_TRUE(Matches("notin = notin, in", {{"notin", "notin"}, {"in", ""}}));
  EXPECT_TRUE(Matches("a.b/c_d-E9 = /.._-", {{"a.b/c_d-E9", "/.._-"}}));
}

TEST(LabelSelectorTest, RefusesEveryOtherForm) {
  for (const std::string& text : {std::string("="),
                                  std::string("=a"),
                                  std::string(","),
                                  std::string("a,"),
                                  std::string(",a"),
                                  std::string("a,,b"),
                                  std::string("a="),
                                  std::string("a=,b"),
                                  std::string("a==b"),
                                  std::string("a!b"),
                                  std::string("a!"),
                                  std::string("!"),
                                  std::string("!a=b"),
                                  std::string("!!a"),
                                  std::string("a b"),
                                  std::string("a = b c"),
                                  std::string("a in"),
                                  std::string("a in b"),
                                  std::string("a in ()"),
                                  std::string("a in (b"),
                                  std::string("a in (b,)"),
                                  std::string("a in (,b)"),
                                  std::string("a in (b c)"),
                                  std::string("a IN (b)"),
                                  std::string("a not in (b)"),
                                  std::string("a notin"),
                                  std::string("a = (b)"),
                                  std::string("a > 1"),
                                  std::string("a = \"b"),
                                  std::string("a = \"b\"c"),
                                  std::string("a = \"\\n\""),
                                  std::string("a = 'b'"),
                                  std::string("a = b*"),
                                  std::string("\"a\" = b"),
                                  std::string("größe = 1"),
                                  std::string("a\t= b"),
                                  std::string("a = \"b\nc\""),
                                  std::string("a = \"b\xe2\x80\xae\""),
                                  std::string("a = \"\xff\""),
                                  std::string("a\0", 2),
                                  std::string(64, 'k'),
                                  "a = " + std::string(257, 'v'),
                                  "a = \"" + std::string(257, 'v') + "\"",
                                  std::string(4097, ' ')}) {
    EXPECT_EQ(ParseLabelSelector(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

TEST(LabelSelectorTest, AcceptsTheLimits) {
  const std::string key(63, 'k'), value(256, 'v');
  EXPECT_TRUE(Matches(key + "=" + value, {{key, value}}));
  EXPECT_TRUE(Matches(std::string(4096, ' '), {}));
}

TEST(LabelSelectorTest, ErrorNamesTheByteAndTheGrammar) {
  const absl::Status status = ParseLabelSelector("team=blue, run ~ 7").status();
  EXPECT_THAT(std::string(status.message()), HasSubstr("at byte 16: expected =, !=, in or notin"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("KEY notin (VALUE, …)"));
}

TEST(LabelSelectorTest, WritesValueThatItReads) {
  for (const std::string& value :
       {std::string("plain-1.0/x_y"), std::string(""), std::string("a b"), std::string(R"(q"u\o)"),
        std::string("ü,(=)!")}) {
    EXPECT_TRUE(Matches("k = " + LabelValueText(value), {{"k", value}})) << value;
    EXPECT_TRUE(Matches("k in (z, " + LabelValueText(value) + ")", {{"k", value}})) << value;
  }
  EXPECT_EQ(LabelValueText("plain-1.0/x_y"), "plain-1.0/x_y");
}

}  // namespace
}  // namespace trainerd
