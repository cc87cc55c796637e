// SPDX-License-Identifier: Apache-2.0
// Expectations: the table at the top of source_format.h.
#include "engine/data/source/source_format.h"

#include "gtest/gtest.h"

namespace trainerd::engine {
namespace {

using nlohmann::ordered_json;

// The messages of a row as JSON text, or "CODE message".
std::string Taken(const std::string& text) {
  ordered_json row = ordered_json::parse(text), messages;
  const auto format = DetectFormat(row);
  if (!format) return "no form";
  const auto fault = TakeMessages(*format, &row, &messages);
  return fault ? fault->code + " " + fault->message : messages.dump();
}

TEST(SourceFormatTest, IsDecidedByTheKeys) {
  const auto name = [](const char* text) {
    const auto format = DetectFormat(ordered_json::parse(text));
    return format ? std::string(FormatName(*format)) : "none";
  };
  EXPECT_EQ(name(R"({"messages":[],"prompt":"","completion":""})"), "messages");
  EXPECT_EQ(name(R"({"prompt":"","completion":""})"), "prompt_completion");
  EXPECT_EQ(name(R"({"conversations":[]})"), "sharegpt");
  EXPECT_EQ(name(R"({"instruction":"","output":""})"), "alpaca");
  EXPECT_EQ(name(R"({"text":"a"})"), "text");
  EXPECT_EQ(name(R"({"text":"a","instruction":"","output":""})"), "alpaca");
  EXPECT_EQ(name(R"({"messages":null,"text":"a"})"), "text") << "null counts as absent";
  EXPECT_EQ(name(R"({"prompt":""})"), "none");
  EXPECT_EQ(name("[]"), "none");
}

TEST(SourceFormatTest, PromptAndCompletionBecomeATurn) {
  EXPECT_EQ(Taken(R"({"prompt":"q","completion":"a"})"),
            R"([{"role":"user","content":"q"},{"role":"assistant","content":"a"}])");
}

TEST(SourceFormatTest, AnswersInsideAPromptAreNotTrained) {
  EXPECT_EQ(
      Taken(R"({"prompt":[{"role":"user","content":"q"},{"role":"assistant","content":"a"},)"
            R"({"role":"user","content":"r"}],"completion":[{"role":"assistant","content":"b"}]})"),
      R"([{"role":"user","content":"q"},{"role":"assistant","content":"a","train":false},)"
      R"({"role":"user","content":"r"},{"role":"assistant","content":"b"}])");
  EXPECT_EQ(Taken(R"({"prompt":3,"completion":"a"})"),
            "BAD_SCHEMA \"prompt\" is 3; it must be text or a list of messages");
}

TEST(SourceFormatTest, ShareGptRolesAreTranslated) {
  EXPECT_EQ(Taken(R"({"system":"s","conversations":[{"from":"human","value":"q"},)"
                  R"({"from":"gpt","value":"a","weight":0},{"from":"tool","value":"t"},)"
                  R"({"from":"chatgpt","value":"b"}]})"),
            R"([{"role":"system","content":"s"},{"role":"user","content":"q"},)"
            R"({"role":"assistant","content":"a","weight":0},{"role":"tool","content":"t"},)"
            R"({"role":"assistant","content":"b"}])");
  EXPECT_EQ(Taken(R"({"conversations":[{"role":"user","content":"q"}]})"),
            R"([{"role":"user","content":"q"}])");
  EXPECT_EQ(Taken(R"({"conversations":[{"from":"hunan","value":"q"}]})"),
            "UNKNOWN_ROLE unknown role \"hunan\" in conversations[0]; did you mean \"human\"?");
  EXPECT_EQ(Taken(R"({"conversations":[{"from":"human","value":1}]})").substr(0, 44),
            "BAD_SCHEMA conversations[0] is {\"from\":\"huma");
  EXPECT_EQ(Taken(R"({"conversations":1})").substr(0, 30), "BAD_SCHEMA \"conversations\" is ");
}

TEST(SourceFormatTest, ShareGptCallsBecomeToolCalls) {
  EXPECT_EQ(Taken(R"({"conversations":[{"from":"human","value":"q"},{"from":"function_call",)"
                  R"("value":"{\"name\": \"add\", \"arguments\": {\"a\": 2}}"},)"
                  R"({"from":"observation","value":"2"},{"from":"gpt","value":"two"}]})"),
            R"([{"role":"user","content":"q"},{"role":"assistant","content":"","tool_calls":)"
            R"([{"type":"function","function":{"name":"add","arguments":{"a":2}}}]},)"
            R"({"role":"tool","content":"2"},{"role":"assistant","content":"two"}])");
  EXPECT_EQ(Taken(R"({"conversations":[{"from":"tool_call","value":"add 2"}]})"),
            "BAD_SCHEMA conversations[0] is \"add 2\"; it must be a call, {\"name\": …, "
            "\"arguments\": {…}}, or a list of calls");
}

TEST(SourceFormatTest, ShareGptToolsBecomeToolsOfTheRecord) {
  ordered_json messages, row = ordered_json::parse(
                             R"({"conversations":[{"from":"tools","value":"[{\"name\":\"f\"}]"},)"
                             R"({"from":"human","value":"q"}]})");
  EXPECT_FALSE(TakeMessages(SourceFormat::kShareGpt, &row, &messages).has_value());
  EXPECT_EQ(row.dump(), R"({"tools":"[{\"name\":\"f\"}]"})");
  EXPECT_EQ(messages.dump(), R"([{"role":"user","content":"q"}])");
  EXPECT_EQ(Taken(R"({"tools":[],"conversations":[{"from":"tools","value":"[]"}]})"),
            "BAD_SCHEMA conversations[0] and the record both have tools; keep one of them");
}

TEST(SourceFormatTest, ShareGptKeepsOtherRolesAndKeysOfATurn) {
  EXPECT_EQ(Taken(R"({"conversations":[{"from":"narrator","value":"n","name":"Ann"},)"
                  R"({"from":"model","value":"a","train":false}]})"),
            R"([{"role":"narrator","content":"n","name":"Ann"},)"
            R"({"role":"assistant","content":"a","train":false}])");
}

TEST(SourceFormatTest, SystemOfTheRecordStandsInFront) {
  EXPECT_EQ(Taken(R"({"system":"s","messages":[{"role":"user","content":"q"}]})"),
            R"([{"role":"system","content":"s"},{"role":"user","content":"q"}])");
  EXPECT_EQ(Taken(R"({"prompt":"q","completion":"a","system":"s"})"),
            R"([{"role":"system","content":"s"},{"role":"user","content":"q"},)"
            R"({"role":"assistant","content":"a"}])");
  EXPECT_EQ(Taken(R"({"system":"s","messages":[{"role":"system","content":"s"}]})"),
            R"([{"role":"system","content":"s"}])");
  EXPECT_EQ(
      Taken(R"({"system":"s","messages":[{"role":"system","content":"t"}]})"),
      "BAD_SCHEMA the record has \"system\" and begins with another system message; keep one");
  EXPECT_EQ(Taken(R"({"system":3,"messages":[]})"), "BAD_SCHEMA \"system\" is 3; it must be text");
}

// As in LLaMA-Factory: each pair is a turn before the instruction, and its answer is trained.
TEST(SourceFormatTest, AlpacaHistoryStandsBeforeTheInstruction) {
  EXPECT_EQ(Taken(R"({"instruction":"c","output":"d","history":[["a","b"],["e","f"]]})"),
            R"([{"role":"user","content":"a"},{"role":"assistant","content":"b"},)"
            R"({"role":"user","content":"e"},{"role":"assistant","content":"f"},)"
            R"({"role":"user","content":"c"},{"role":"assistant","content":"d"}])");
  EXPECT_EQ(Taken(R"({"instruction":"c","output":"d","history":[["a"]]})"),
            "BAD_SCHEMA history[0] is [\"a\"]; it must be [question, answer]");
  EXPECT_EQ(Taken(R"({"instruction":"c","output":"d","history":"a"})"),
            "BAD_SCHEMA \"history\" is \"a\"; it must be a list of [question, answer]");
}

TEST(SourceFormatTest, AlpacaInputFollowsTheInstruction) {
  EXPECT_EQ(Taken(R"({"instruction":"Add.","input":"1 2","output":"3"})"),
            R"([{"role":"user","content":"Add.\n\n1 2"},{"role":"assistant","content":"3"}])");
  EXPECT_EQ(Taken(R"({"instruction":"Hi.","input":"","output":"Yo"})"),
            R"([{"role":"user","content":"Hi."},{"role":"assistant","content":"Yo"}])");
  EXPECT_EQ(Taken(R"({"instruction":"Hi.","output":[]})"),
            "BAD_SCHEMA \"output\" is []; it must be text");
}

TEST(SourceFormatTest, ARowOfAnotherFormSaysWhatTheFileHas) {
  ordered_json row = ordered_json::parse(R"({"messages":[]})"), messages;
  EXPECT_EQ(
      TakeMessages(SourceFormat::kAlpaca, &row, &messages)->message,
      "the record has no \"instruction\"; it has the keys \"messages\"; the file's first record "
      "has the "
      "form alpaca");
  row = ordered_json::parse(R"({"text":"a","id":1})");
  EXPECT_EQ(
      TakeMessages(SourceFormat::kMessages, &row, &messages)->message,
      "the record has no \"messages\"; it has the keys \"text\", \"id\"; a record has messages, or "
      "prompt "
      "and completion, or conversations, or instruction and output, or text");
}

TEST(SourceFormatTest, FormsAreOneWordOrAListByFile) {
  EXPECT_EQ(FormatsText({}), "");
  EXPECT_EQ(FormatsText({{"a", SourceFormat::kAlpaca}, {"b", SourceFormat::kAlpaca}}), "alpaca");
  EXPECT_EQ(FormatsText({{"a", SourceFormat::kAlpaca}, {"b", SourceFormat::kMessages}}),
            "a: alpaca, b: messages");
}

}  // namespace
}  // namespace trainerd::engine
