// SPDX-License-Identifier: Apache-2.0
// Expectations: OpenAI's description of the older and the newer fields of chat completions.
#include "engine/data/source/tool_forms.h"

#include "engine/formats/json.h"
#include "gtest/gtest.h"

namespace trainerd::engine {
namespace {

using nlohmann::ordered_json;

// The tools of a record and what remains of the record, or "CODE message".
std::string Tools(const char* text) {
  ordered_json row = ordered_json::parse(text), tools;
  const auto fault = TakeTools(&row, &tools);
  return fault ? fault->code + " " + fault->message : tools.dump() + " " + row.dump();
}

// The message after its function call was converted, or "CODE message".
std::string Converted(const char* text) {
  ordered_json message = ordered_json::parse(text);
  const auto fault = ConvertFunctionCall("messages[2]", &message);
  return fault ? fault->code + " " + fault->message : message.dump();
}

TEST(ToolFormsTest, TakesToolsAsListOrText) {
  EXPECT_EQ(Tools(R"({"tools":[{"name":"f"}],"id":1})"), R"([{"name":"f"}] {"id":1})");
  EXPECT_EQ(Tools(R"({"tools":"[{\"name\": \"f\", \"x\": null}]"})"),
            R"([{"name":"f","x":null}] {})");
  EXPECT_EQ(Tools(R"({"tools":[]})"), "[] {}");
  EXPECT_EQ(Tools(R"({"tools":""})"), "null {}");
  EXPECT_EQ(Tools("{}"), "null {}");
  EXPECT_EQ(Tools(R"({"tools":"call f"})"),
            "BAD_SCHEMA \"tools\" is \"call f\"; it must be a list of functions");
}

TEST(ToolFormsTest, WrapsFunctionsAsTools) {
  EXPECT_EQ(
      Tools(R"({"functions":[{"name":"f","parameters":{}},{"type":"function","function":{}}]})"),
      R"([{"type":"function","function":{"name":"f","parameters":{}}},)"
      R"({"type":"function","function":{}}] {})");
  EXPECT_EQ(Tools(R"({"functions":3})").substr(0, 26), "BAD_SCHEMA \"functions\" is ");
  EXPECT_EQ(Tools(R"({"functions":[],"tools":[]})"),
            "BAD_SCHEMA the record has \"tools\" and \"functions\"; keep one of them");
}

TEST(ToolFormsTest, FunctionCallBecomesAToolCall) {
  EXPECT_EQ(
      Converted(R"({"role":"assistant","function_call":{"name":"f","arguments":"{\"a\": 1}"}})"),
      R"({"role":"assistant","content":"","tool_calls":[{"type":"function","function":)"
      R"({"name":"f","arguments":{"a":1}}}]})");
  EXPECT_EQ(Converted(R"({"content":"so","function_call":{"name":"f","arguments":"all"}})"),
            R"({"content":"so","tool_calls":[{"type":"function","function":)"
            R"({"name":"f","arguments":"all"}}]})")
      << "text that is no object stays text";
  EXPECT_EQ(Converted(R"({"content":"so"})"), R"({"content":"so"})");
  EXPECT_EQ(Converted(R"({"function_call":{"arguments":"{}"}})").substr(0, 60),
            "BAD_SCHEMA messages[2].function_call is {\"arguments\":\"{}\"}; ");
  EXPECT_EQ(Converted(R"({"function_call":{"name":"f"},"tool_calls":[]})"),
            "BAD_SCHEMA messages[2] has \"function_call\" and \"tool_calls\"; keep one of them");
}

TEST(ToolFormsTest, ReadsOneCallOrSeveral) {
  const auto calls = [](const char* text) {
    ordered_json list;
    return ReadCalls(text, "here", &list) ? "fault" : list.dump();
  };
  EXPECT_EQ(calls(R"([{"name":"f"},{"name":"g","arguments":"{\"b\": [2]}","id":"7"}])"),
            R"([{"type":"function","function":{"name":"f","arguments":{}}},)"
            R"({"type":"function","function":{"name":"g","arguments":{"b":[2]}},"id":"7"}])");
  EXPECT_EQ(calls(R"({"id":"1","type":"function","function":{"name":"f","arguments":{}}})"),
            R"([{"type":"function","function":{"name":"f","arguments":{}},"id":"1"}])");
  for (const char* text : {"", "[]", "3", "f(x)", "{}", R"([{"name":"f"},{}])", R"({"name":1})"})
    EXPECT_EQ(calls(text), "fault") << text;
}

TEST(ToolFormsTest, NamesAnOddNumberByItsPath) {
  ordered_json value;
  ASSERT_FALSE(ReadJsonWithSpelling(R"({"a":[1,{"b":-1e999}],"c":NaN})", &value));
  EXPECT_EQ(RefuseOddNumbers(value, "tools")->message,
            "tools.a[1].b is -1e999; a number must fit into 64 bits; write it as text");
  EXPECT_FALSE(RefuseOddNumbers(ordered_json::parse("[1.5,{}]"), "tools").has_value());
}

}  // namespace
}  // namespace trainerd::engine
