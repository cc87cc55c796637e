// SPDX-License-Identifier: Apache-2.0
// Expectations: what a user must read to find and mend a bad row.
#include "engine/data/source/conversation.h"

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "tests/engine/data/test_data.h"

namespace trainerd::engine {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

struct Parsed {
  std::optional<RecordError> fault;
  Conversation conversation;
};

Parsed Parse(std::string line, SourceFormat format = SourceFormat::kMessages) {
  const size_t size = line.size();
  line.resize(size + kJsonPadding);
  ConversationParser parser;
  Parsed parsed;
  parsed.fault = parser.Parse(std::string_view(line).substr(0, size), format, &parsed.conversation);
  return parsed;
}

std::string FaultOf(const std::string& line) {
  const Parsed parsed = Parse(line);
  if (!parsed.fault) return "none";
  return parsed.fault->code + " " + std::to_string(parsed.fault->column) + " " +
         parsed.fault->message;
}

std::string WithMessages(const std::string& messages) {
  return "{\"messages\":[" + messages + "]}";
}

TEST(ConversationParserTest, ReadsAConversationWithEverythingTheTemplateMayUse) {
  const Parsed parsed = Parse(
      R"({"id":7,"messages":[{"role":"system","content":"s"},{"role":"user","content":"ü 😀"},)"
      R"({"role":"assistant","content":null,)"
      R"("tool_calls":[{"function":{"name":"f","arguments":{"x":1,"y":1.0}}}]},)"
      R"({"role":"tool","content":"4"},)"
      R"({"role":"assistant","content":"four","weight":0,"train":false}],)"
      R"("tools":[{"name":"f"}],"chat_template_kwargs":{"enable_thinking":false}})");
  ASSERT_FALSE(parsed.fault) << parsed.fault->message;
  const Conversation& conversation = parsed.conversation;
  ASSERT_EQ(conversation.messages.size(), 5u);
  EXPECT_EQ(conversation.messages[1]["content"], "ü 😀");
  EXPECT_FALSE(conversation.messages[2].contains("content")) << "null counts as absent";
  EXPECT_EQ(conversation.messages[2]["tool_calls"].dump(),
            R"([{"function":{"name":"f","arguments":{"x":1,"y":1.0}}}])")
      << "key order and number types are kept";
  EXPECT_EQ(conversation.tools.dump(), R"([{"name":"f"}])");
  EXPECT_EQ(conversation.variables["enable_thinking"], false);
}

TEST(ConversationParserTest, GivesEachTextPartItsType) {
  const Parsed parsed = Parse(WithMessages(
      R"({"role":"user","content":[{"type":"text","text":"a","image":null},"b",{"text":"c"},)"
      R"({"type":"input_text","text":"d"}]},{"role":"assistant","content":[]})"));
  ASSERT_FALSE(parsed.fault);
  EXPECT_EQ(
      parsed.conversation.messages[0]["content"],
      nlohmann::ordered_json::parse(R"([{"type":"text","text":"a"},{"type":"text","text":"b"},)"
                                    R"({"text":"c","type":"text"},{"type":"text","text":"d"}])"));
  EXPECT_EQ(parsed.conversation.messages[1]["content"].dump(), "[]");
}

TEST(ConversationParserTest, AnAssistantMessageWithoutContentIsEmpty) {
  const Parsed parsed = Parse(WithMessages(R"({"role":"assistant"})"));
  ASSERT_FALSE(parsed.fault);
  EXPECT_EQ(parsed.conversation.messages[0]["content"], "");
}

TEST(ConversationParserTest, TakesToolsThatAreJsonText) {
  EXPECT_EQ(Parse(R"({"messages":[{"role":"user","content":"a"}],"tools":"[{\"name\":\"f\"}]"})")
                .conversation.tools.dump(),
            R"([{"name":"f"}])");
  EXPECT_EQ(
      Parse(R"({"messages":[{"role":"user","content":"a"}],"tools":[]})").conversation.tools.dump(),
      "[]");
  EXPECT_TRUE(Parse(R"({"messages":[{"role":"user","content":"a"}],"tools":""})")
                  .conversation.tools.is_null());
  EXPECT_EQ(FaultOf(R"({"messages":[{"role":"user","content":"a"}],"tools":3})"),
            "BAD_SCHEMA 0 \"tools\" is 3; it must be a list of functions");
}

// As in transformers 5 (apply_chat_template): only keys of the message itself are dropped.
TEST(ConversationParserTest, DropsKeysOfRecordAndMessagesWhoseValueIsNull) {
  const Parsed parsed =
      Parse(R"({"tools":null,"system":null,"chat_template_kwargs":null,"id":null,"messages":[)"
            R"({"role":"user","content":"a","name":null,"weight":null,"train":null},)"
            R"({"role":"assistant","content":null,"reasoning_content":"r","tool_calls":null},)"
            R"({"role":"assistant","content":null,"tool_calls":[{"id":null,"function":)"
            R"({"name":"f","arguments":{"x":null}}}]}]})");
  ASSERT_FALSE(parsed.fault) << parsed.fault->message;
  const Conversation& conversation = parsed.conversation;
  EXPECT_EQ(conversation.messages[0].dump(), R"({"role":"user","content":"a"})");
  EXPECT_EQ(conversation.messages[1].dump(), R"({"role":"assistant","reasoning_content":"r"})");
  EXPECT_EQ(conversation.messages[2].dump(),
            R"({"role":"assistant","tool_calls":[{"id":null,"function":)"
            R"({"name":"f","arguments":{"x":null}}}]})");
  EXPECT_TRUE(conversation.tools.is_null());
  EXPECT_THAT(conversation.unused_keys, ::testing::IsEmpty());
}

TEST(ConversationParserTest, ListsKeysThatItDoesNotRead) {
  EXPECT_THAT(Parse(R"({"id":1,"messages":[{"role":"user","content":"a"}],"tools":[],"images":[]})")
                  .conversation.unused_keys,
              ::testing::ElementsAre("id", "images"));
  EXPECT_THAT(Parse(R"({"text":"a","meta":{"x":1}})", SourceFormat::kText).conversation.unused_keys,
              ::testing::ElementsAre("meta"));
}

TEST(ConversationParserTest, AdvisesHowToConvertLinesThatAreNotJson) {
  const auto advice = [](const std::string& line) {
    const std::string fault = FaultOf(line);
    EXPECT_THAT(fault, HasSubstr("BAD_JSON")) << line;
    return fault;
  };
  EXPECT_THAT(advice("prompt,completion"), HasSubstr("csv.DictReader"));
  EXPECT_THAT(advice("prompt\tcompletion"), HasSubstr("csv.DictReader"));
  EXPECT_THAT(advice("Once upon a time"), HasSubstr("jq -cR '{text: .}'"));
  EXPECT_THAT(advice("{'prompt': 'a'}"), HasSubstr("write it with json.dumps"));
  EXPECT_THAT(advice(R"({"prompt": "a", "completion": "b"},)"),
              HasSubstr("remove the comma at the end of the line"));
  EXPECT_THAT(advice(R"({"prompt": "a", "completion)"),
              AllOf(Not(HasSubstr("comma")), Not(HasSubstr("dictionary"))));
}

TEST(ConversationParserTest, ReadsPlainText) {
  const Parsed parsed = Parse(R"({"text":"ü\nb"})", SourceFormat::kText);
  ASSERT_FALSE(parsed.fault) << parsed.fault->message;
  EXPECT_EQ(parsed.conversation.text, "ü\nb");
  EXPECT_EQ(Parse(R"({"text":3})", SourceFormat::kText).fault->message,
            "\"text\" is 3; it must be text");
  EXPECT_EQ(
      Parse(R"({"text":null,"id":1})", SourceFormat::kText).fault->message,
      "the record has no \"text\"; it has the keys \"id\"; the file's first record has the form "
      "text");
}

// The calls of a message, tools and functions may be JSON text, in which the parser of the record
// sees no number.
TEST(ConversationParserTest, FindsOddNumbersInJsonTextOfCallsAndTools) {
  for (const char* line :
       {R"({"messages":[{"role":"user","content":"q"}],"tools":"[{\"max\":1e999}]"})",
        R"({"messages":[{"role":"user","content":"q"}],"functions":"[{\"max\":NaN}]"})",
        R"({"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a",)"
        R"("function_call":{"name":"f","arguments":"{\"x\":[98765432109876543210]}"}}]})"}) {
    EXPECT_THAT(FaultOf(line), ::testing::HasSubstr("; a number must fit into 64 bits")) << line;
  }
  EXPECT_EQ(FaultOf(R"({"messages":[{"role":"user","content":"NaN"}],"tools":"[{\"max\":9}]"})"),
            "none");
}

TEST(ConversationParserTest, SaysWhatToDoAboutARecordThatIsNotJson) {
  for (const char* line :
       {R"({"messages": [}])", R"({"messages": [] "id": 1})", "{messages: []}"}) {
    EXPECT_THAT(FaultOf(line), ::testing::EndsWith("; correct it, or write the records with a JSON "
                                                   "library (in Python: json.dumps(record))"))
        << line;
  }
  EXPECT_THAT(FaultOf(std::string(1001, '[')), ::testing::EndsWith(" deep; flatten it"));
}

TEST(ConversationParserTest, RecognizesARecordThatWasCutOffAnywhere) {
  const std::string record =
      R"({"messages":[{"role":"user","content":"é \u00e9 \ud83d\ude00 😀 \"q\""},)"
      R"({"role":"assistant","content":null,"weight":1.5e+3,"train":true}],"n":[1,-2,{}]})";
  ConversationParser parser;
  for (size_t size = 1; size < record.size(); ++size) {
    std::string line = record.substr(0, size);
    line.resize(size + kJsonPadding);
    Conversation conversation;
    const auto fault = parser.Parse(std::string_view(line).substr(0, size), SourceFormat::kMessages,
                                    &conversation, /*unterminated=*/true);
    ASSERT_TRUE(fault.has_value());
    EXPECT_THAT(fault->message, ::testing::EndsWith("it was cut off, copy it again"))
        << record.substr(0, size);
  }
  std::string foreign = "a,b";
  foreign.resize(foreign.size() + kJsonPadding);
  Conversation conversation;
  EXPECT_THAT(parser
                  .Parse(std::string_view(foreign).substr(0, 3), SourceFormat::kMessages,
                         &conversation, /*unterminated=*/true)
                  ->message,
              ::testing::Not(::testing::HasSubstr("cut off")));
}

TEST(ConversationParserTest, ReadsOddNumbersInUnusedKeys) {
  const Parsed parsed =
      Parse(R"({"score":[NaN,-Infinity,1e999],"id":123456789012345678901234567890,)"
            R"("messages":[{"role":"user","content":"NaN","weight":1}]})");
  ASSERT_FALSE(parsed.fault) << parsed.fault->message;
  EXPECT_EQ(parsed.conversation.messages.dump(), R"([{"role":"user","content":"NaN","weight":1}])");
}

TEST(ConversationParserTest, NamesTheUsedKeyThatIsAnOddNumber) {
  const auto message = [](const std::string& line) { return FaultOf(line).substr(0, 60); };
  EXPECT_EQ(message(WithMessages(R"({"role":"user","content":NaN})")),
            "BAD_SCHEMA 0 messages[0].content is NaN; it must be text or ");
  EXPECT_EQ(message(WithMessages(R"({"role":"user","content":"a","weight":Infinity})")),
            "BAD_SCHEMA 0 messages[0].weight is Infinity; it is a number ");
  EXPECT_EQ(
      FaultOf(WithMessages(R"({"role":"user","content":"a","tool_calls":[{"function":)"
                           R"({"name":"f","arguments":{"x":[1,98765432109876543210]}}}]})")),
      "BAD_SCHEMA 0 messages[0].tool_calls[0].function.arguments.x[1] is 98765432109876543210; "
      "a number must fit into 64 bits; write it as text");
  EXPECT_EQ(FaultOf(R"({"messages":[{"role":"user","content":"a"}],"tools":[{"max":1e400}]})")
                .substr(0, 44),
            "BAD_SCHEMA 0 tools[0].max is 1e400; a number");
  // JSON text inside of JSON.
  EXPECT_EQ(FaultOf(WithMessages(R"({"role":"assistant","function_call":{"name":"f",)"
                                 R"("arguments":"{\"x\":NaN}"}})"))
                .substr(0, 64),
            "BAD_SCHEMA 0 messages[0].tool_calls[0].function.arguments.x is N");
}

TEST(ConversationParserTest, LeavesOtherRolesToTheTemplate) {
  for (const char* role :
       {"developer", "function", "model", "ipython", "critic", "tools", "user_2"}) {
    EXPECT_EQ(FaultOf(WithMessages(R"({"role":")" + std::string(role) + R"(","content":"a"})")),
              "none")
        << role;
  }
  EXPECT_EQ(FaultOf(WithMessages(R"({"role":"","content":"a"})")),
            "BAD_SCHEMA 0 messages[0].role is empty");
  EXPECT_NE(FaultOf(WithMessages(R"({"role":"User","content":"a"})")).find("mean \"user\"?"),
            std::string::npos);
}

TEST(ConversationParserTest, NamesTheColumnOfASyntaxError) {
  EXPECT_EQ(FaultOf(R"({"messages": [}])").substr(0, 13), "BAD_JSON 15 t");
  EXPECT_NE(FaultOf("hello").find("BAD_JSON 1 the line is not JSON: syntax error"),
            std::string::npos);
  EXPECT_NE(FaultOf(R"({"messages": [{"role":"user","content":"a)").find("BAD_JSON"),
            std::string::npos);
  EXPECT_EQ(FaultOf(R"({"messages":[]} {})").substr(0, 9), "BAD_JSON ");
}

TEST(ConversationParserTest, NamesTheColumnOfInvalidUtf8) {
  EXPECT_EQ(FaultOf("{\"messages\":\"\xc3\x28\"}"),
            "BAD_UTF8 14 the line is not UTF-8; convert the file, for example: iconv -f "
            "WINDOWS-1252 -t UTF-8 FILE > FILE.jsonl");
}

TEST(ConversationParserTest, RefusesRowsOfAnotherShape) {
  EXPECT_EQ(FaultOf("[1]").substr(0, 45), "BAD_SCHEMA 0 the line is a JSON list; a JSONL");
  EXPECT_EQ(FaultOf("3"),
            "BAD_SCHEMA 0 the line is not a JSON object; a record is {\"messages\": […]}");
  EXPECT_EQ(FaultOf(R"({"text":"a","id":1})").substr(0, 72),
            "NO_MESSAGES 0 the record has no \"messages\"; it has the keys \"text\", \"id\"");
  EXPECT_EQ(FaultOf(WithMessages("")), "NO_MESSAGES 0 \"messages\" is an empty list");
  EXPECT_EQ(FaultOf(R"({"messages":"hi"})").substr(0, 36),
            "BAD_SCHEMA 0 \"messages\" is \"hi\"; it ");
  EXPECT_EQ(FaultOf(WithMessages("7")).substr(0, 30), "BAD_SCHEMA 0 messages[0] is 7;");
}

TEST(ConversationParserTest, NamesTheNearestRole) {
  EXPECT_EQ(
      FaultOf(WithMessages(R"({"role":"user","content":"a"},{"role":"assitant","content":"b"})")),
      "UNKNOWN_ROLE 0 unknown role \"assitant\" in messages[1]; did you mean \"assistant\"? Roles "
      "are system, user, assistant and tool");
  EXPECT_EQ(FaultOf(WithMessages(R"({"content":"a"})")),
            "BAD_SCHEMA 0 messages[0] has no \"role\"; it has the keys \"content\"");
  EXPECT_EQ(FaultOf(WithMessages(R"({"role":3,"content":"a"})")),
            "BAD_SCHEMA 0 messages[0].role is 3; it must be text");
}

TEST(ConversationParserTest, RefusesContentThatCannotBeTrained) {
  EXPECT_NE(FaultOf(WithMessages(R"({"role":"user"})")).find("messages[0] has no \"content\""),
            std::string::npos);
  EXPECT_NE(
      FaultOf(WithMessages(R"({"role":"user","content":5})")).find("messages[0].content is 5"),
      std::string::npos);
  EXPECT_NE(FaultOf(WithMessages(R"({"role":"user","content":[{"type":"image","url":"x"}]})"))
                .find("content[0] has type \"image\"; only text parts"),
            std::string::npos);
  EXPECT_NE(FaultOf(WithMessages(R"({"role":"user","content":[{"text":"a","image_url":"x"}]})"))
                .find("content[0] has \"image_url\"; only text parts"),
            std::string::npos);
  EXPECT_NE(FaultOf(WithMessages(R"({"role":"user","content":[{"type":"text"}]})"))
                .find("content[0] has no \"text\" that is a string"),
            std::string::npos);
}

TEST(ConversationParserTest, RefusesSwitchesOfAWrongKind) {
  for (const char* weight :
       {"-0.5", "1000.5", "1000000000", "NaN", "-Infinity", "\"1\"", "true", "[1]"}) {
    EXPECT_EQ(FaultOf(WithMessages(
                  absl::StrCat(R"({"role":"assistant","content":"a","weight":)", weight, "}"))),
              absl::StrCat("BAD_SCHEMA 0 messages[0].weight is ", weight,
                           "; it is a number from 0 (not trained) to 1000"));
  }
  for (const char* weight : {"0", "0.5", "1", "2.5e-1", "1000", "null"}) {
    EXPECT_EQ(FaultOf(WithMessages(
                  absl::StrCat(R"({"role":"assistant","content":"a","weight":)", weight, "}"))),
              "none");
  }
  EXPECT_EQ(FaultOf(WithMessages(R"({"role":"assistant","content":"a","train":"no"})")),
            "BAD_SCHEMA 0 messages[0].train is \"no\"; it is true or false");
  EXPECT_EQ(FaultOf(WithMessages(R"({"role":"assistant","content":"a","weight":1,"train":true})")),
            "none");
}

}  // namespace
}  // namespace trainerd::engine
