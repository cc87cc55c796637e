// SPDX-License-Identifier: Apache-2.0
// Expectations: what json.loads of Python 3.11 returns for the same text.
#include "engine/formats/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace trainerd::engine {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

std::string Error(std::string_view text) { return std::string(ParseJson(text).status().message()); }

TEST(JsonTest, ReadsOddNumbersAsDoubles) {
  const auto json = ParseJson(
      R"({"a": [NaN,Infinity , -Infinity, 1e999, -1.5E+400, 3],
          "b": 1000000000000000019884624838656, "c": -9223372036854775809,
          "NaN": "NaN, 1e999 \" \\", "d": 18446744073709551615})");
  ASSERT_TRUE(json.ok()) << json.status();
  EXPECT_TRUE(std::isnan((*json)["a"][0].get<double>()));
  EXPECT_EQ((*json)["a"][1], kInfinity);
  EXPECT_EQ((*json)["a"][2], -kInfinity);
  EXPECT_EQ((*json)["a"][3], kInfinity);
  EXPECT_EQ((*json)["a"][4], -kInfinity);
  EXPECT_EQ((*json)["a"][5], 3);
  EXPECT_TRUE((*json)["a"][5].is_number_integer());
  EXPECT_EQ((*json)["b"].get<double>(), 1e30);
  EXPECT_TRUE((*json)["b"].is_number_float());
  EXPECT_EQ((*json)["c"].get<double>(), -9223372036854775808.0);
  EXPECT_EQ((*json)["NaN"], "NaN, 1e999 \" \\");
  EXPECT_EQ((*json)["d"].get<uint64_t>(), 18446744073709551615u);
}

TEST(JsonTest, ReadsAnIntegerOf400Digits) {
  const auto json = ParseJson("[1, -" + std::string(400, '7') + ", 2]");
  ASSERT_TRUE(json.ok()) << json.status();
  EXPECT_EQ((*json)[1], -kInfinity);
  EXPECT_EQ((*json)[2], 2);
}

TEST(JsonTest, RefusesWhatPythonRefuses) {
  for (const char* text : {"", "{", "[1,]", "nan", "inf", "+Infinity", "-NaN", "NaN5", "[1.e999]",
                           "[01]", "[1e]", "{NaN: 1}", "{'a': 1}", "[1] 2", "\"\\x\"", "// a\n1"}) {
    EXPECT_FALSE(ParseJson(text).ok()) << text;
  }
}

TEST(JsonTest, NamesLineAndColumnOfTheError) {
  EXPECT_THAT(Error("{\"a\": 1,\n \"b\": [NaN, 1e999, tru]}"),
              StartsWith("line 2, column 23: syntax error"));
  EXPECT_THAT(Error("[1} "), StartsWith("line 1, column 3: syntax error"));
  EXPECT_THAT(Error("\"\\ud800\""), HasSubstr("surrogate"));
}

TEST(JsonTest, SaysWhatToDoAboutAnEmptyOrDamagedFile) {
  EXPECT_EQ(Error(""), "the file is empty; download it again");
  EXPECT_EQ(Error(" \n"), "the file is empty; download it again");
  EXPECT_THAT(Error("{\"a\": "), EndsWith("; download the file again, or repair it"));
}

TEST(JsonTest, RefusesDeepNesting) {
  EXPECT_TRUE(ParseJson(std::string(1000, '[') + std::string(1000, ']')).ok());
  EXPECT_EQ(Error(std::string(100000, '[')), "lists and objects are nested more than 1000 deep");
}

TEST(JsonTest, KeepsOrderOfKeysAndTheLastOfEqualKeys) {
  const auto json = ParseOrderedJson(R"({"z": 1, "a": NaN, "z": 3})");
  ASSERT_TRUE(json.ok()) << json.status();
  EXPECT_EQ(json->size(), 2u);
  EXPECT_EQ(json->begin().key(), "z");
  EXPECT_EQ((*json)["z"], 3);
}

TEST(JsonTest, KeepsTheSpellingOfOddNumbers) {
  nlohmann::ordered_json json;
  EXPECT_EQ(ReadJsonWithSpelling(R"([7, -Infinity, 1E+500, 99999999999999999999, 1.5])", &json),
            std::nullopt);
  EXPECT_EQ(json[0], 7);
  EXPECT_TRUE(json[1].is_binary());
  EXPECT_EQ(ShownJson(json[1]), "-Infinity");
  EXPECT_EQ(ShownJson(json[2]), "1E+500");
  EXPECT_EQ(ShownJson(json[3]), "99999999999999999999");
  EXPECT_EQ(json[4], 1.5);
  const auto error = ReadJsonWithSpelling("[NaN, }", &json);
  ASSERT_TRUE(error.has_value());
  EXPECT_EQ(error->column, 7);
}

TEST(JsonTest, WritesOddNumbersAsTheyWereSpelled) {
  const std::string text = R"({
  "b": 1000000000000000019884624838656,
  "a": [
    NaN,
    -Infinity,
    1e999,
    {
      "number": "number0",
      "number_": -1.5E+400
    }
  ],
  "float": 1e-06,
  "large": 18446744073709551615,
  "text": "NaN \u0001 \"number1\" é",
  "none": null
})";
  const auto value = ParseJsonWithSpelling(text);
  ASSERT_TRUE(value.ok()) << value.status();
  EXPECT_EQ(WriteJsonWithSpelling(*value), text);
  EXPECT_THAT(std::string(ParseJsonWithSpelling("{\n1}").status().message()),
              StartsWith("line 2, column 1: "));
  for (const char* number : {"NaN", "3", "[]", "\"number\""})
    EXPECT_EQ(WriteJsonWithSpelling(*ParseJsonWithSpelling(number)), number);
}

TEST(JsonTest, ReplacesOddNumbersForSimdjson) {
  EXPECT_EQ(WithoutOddNumbers(R"({"NaN": [1, 2.5e10], "b": "1e999"})"), std::nullopt);
  EXPECT_EQ(WithoutOddNumbers(R"({"a": NaN, "b": "\"NaN", "c": 1e999})"),
            R"({"a": {} , "b": "\"NaN", "c": {}   })");
}

TEST(JsonTest, ShowsValuesShort) {
  EXPECT_EQ(ShownJson(nlohmann::json(std::nan(""))), "NaN");
  EXPECT_EQ(ShownJson(nlohmann::json(-kInfinity)), "-Infinity");
  EXPECT_EQ(ShownJson(nlohmann::json({1, "a"})), "[1,\"a\"]");
  // 56 bytes, then a character of 2 bytes that the limit would cut.
  const std::string shown = ShownJson(nlohmann::json(std::string(55, 'a') + "ééé"));
  EXPECT_EQ(shown, "\"" + std::string(55, 'a') + "...");
}

}  // namespace
}  // namespace trainerd::engine
