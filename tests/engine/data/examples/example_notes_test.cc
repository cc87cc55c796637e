// SPDX-License-Identifier: Apache-2.0
// The notes that depend on tokens (doubled ends, control tokens) are tested in
// prepare_findings_test.cc, through a template.
#include "engine/data/examples/example_notes.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/data/test_data.h"

namespace trainerd::engine {
namespace {

RowNotes Notes(const char* messages) {
  RowNotes notes;
  NoteMessages(nlohmann::ordered_json::parse(messages), &notes);
  return notes;
}

TEST(RowNotesTest, SeesWhoAnswers) {
  EXPECT_TRUE(Notes(R"([{"role":"user","content":"a"}])").no_assistant);
  EXPECT_FALSE(Notes(R"([{"role":"assistant","content":"a"}])").no_assistant);
}

// Renders "<a>TEXT<e>" for each message, of which TEXT is content. Returns the empty answer.
int EmptyAnswer(const std::vector<std::string>& texts, const std::vector<TextSpan>& targets) {
  nlohmann::ordered_json messages = nlohmann::ordered_json::array();
  RenderedConversation rendered;
  for (size_t i = 0; i < texts.size(); ++i) {
    messages.push_back({{"role", i % 2 == 0 ? "user" : "assistant"}});
    const auto add = [&](const std::string& text, bool content) {
      const auto begin = static_cast<uint32_t>(rendered.text.size());
      rendered.text += text;
      rendered.message_spans.push_back(
          {static_cast<int>(i), begin, static_cast<uint32_t>(rendered.text.size()), content});
    };
    add("<a>", false);
    if (!texts[i].empty()) add(texts[i], true);
    add("<e>", false);
  }
  RowNotes notes;
  NoteAnswers(messages, rendered, targets, &notes);
  return notes.empty_answer;
}

TEST(RowNotesTest, SeesTrainedAnswersWithoutTextOfTheRecord) {
  EXPECT_EQ(EmptyAnswer({"q", "yes"}, {{10, 16}}), -1);
  EXPECT_EQ(EmptyAnswer({"q", ""}, {{10, 13}}), 1) << "the end of the turn alone";
  EXPECT_EQ(EmptyAnswer({"q", " \n\u3000"}, {{10, 18}}), 1) << "white space";
  EXPECT_EQ(EmptyAnswer({"q", "yes"}, {{13, 16}}), 1) << "its text is not trained";
  EXPECT_EQ(EmptyAnswer({"q", ""}, {}), -1) << "it is not trained";
  EXPECT_EQ(EmptyAnswer({"q", "yes", "q", ""}, {{10, 16}, {26, 29}}), 3);
  EXPECT_EQ(EmptyAnswer({"", "yes"}, {{0, 15}}), -1) << "an empty question is no answer";
}

TEST(RowNotesTest, SeesAnAnswerThatStandsInItsQuestion) {
  EXPECT_TRUE(Notes(R"([{"role":"user","content":"Say: the answer is forty-two, my friend. Now!"},
                        {"role":"assistant","content":" the answer is forty-two, my friend. "}])")
                  .answer_in_question);
  EXPECT_FALSE(
      Notes(
          R"([{"role":"user","content":"Is it yes or no?"},{"role":"assistant","content":"yes"}])")
          .answer_in_question)
      << "short answers stand in questions by right";
  EXPECT_FALSE(Notes(R"([{"role":"assistant","content":"the answer is forty-two, my friend."},
                         {"role":"user","content":"again"},
                         {"role":"assistant","content":"the answer is forty-two, my friend."}])")
                   .answer_in_question);
}

TEST(RowNotesTest, SeesSignsOfAWrongEncoding) {
  for (const char* bad : {"caf\u00c3\u00a9", "it\u00e2\u20ac\u2122s", "a\ufffd"})
    EXPECT_TRUE(HasEncodingFault(bad)) << bad;
  EXPECT_TRUE(HasEncodingFault(std::string_view("a\0b", 3)));
  // Honest French, Portuguese and Vietnamese have these letters too.
  for (const char* good : {"\u00c3o", "S\u00c3O PAULO", "\u00c2ge", "l\u2019\u00e2ge",
                           "\u00e2\u20abx", "\u00e9t\u00e9", "", "\uffe5"}) {
    EXPECT_FALSE(HasEncodingFault(good)) << good;
  }
}

TEST(RowNotesTest, SeesAWrongEncodingAtAnyPosition) {
  for (size_t before = 0; before < 20; ++before) {
    for (const std::string& bad : {std::string(1, '\0'), std::string("\u00c3\u00a9"),
                                   std::string("\u00e2\u20ac\u2122"), std::string("\ufffd")}) {
      for (size_t after : {0, 1, 7, 8, 9}) {
        EXPECT_TRUE(HasEncodingFault(std::string(before, 'a') + bad + std::string(after, '\x01')));
      }
    }
    EXPECT_FALSE(HasEncodingFault(std::string(before, '\x7f') + "\u00e9"));
  }
}

TEST(RowNotesTest, ReadsTheTextOfParts) {
  EXPECT_TRUE(Notes(R"([{"role":"user","content":[{"type":"text","text":"Ã©"}]}])").bad_encoding);
}

// The fields that are reported as not rendered.
class NoteFieldsTest : public ::testing::Test {
 protected:
  RowNotes Fields(const std::string& source, const std::string& record) {
    const std::unique_ptr<Tokenizer> tokenizer = *Tokenizer::Load(WriteByteTokenizer(folder_, ""));
    const auto chat_template = *ChatTemplate::FromSource(source, *tokenizer);
    const auto row = nlohmann::ordered_json::parse(record);
    Conversation conversation;
    conversation.messages = row["messages"];
    conversation.tools = row.value("tools", nlohmann::ordered_json());
    conversation.variables = row.value("kwargs", nlohmann::ordered_json());
    const RenderOptions options{.tools = conversation.tools, .extra = conversation.variables};
    const auto rendered = chat_template->Render(conversation.messages, options);
    EXPECT_TRUE(rendered.ok()) << rendered.status();
    RowNotes notes;
    if (rendered.ok()) NoteFields(conversation, *chat_template, options, *rendered, &notes);
    return notes;
  }

  TempDir folder_;
};

constexpr char kContentAlone[] =
    "{% for m in messages %}{{ m.role }}: {{ m.content }} {% endfor %}";

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST_F(NoteFieldsTest, ReportsWhatTheTemplateDoesNotPrint) {
  EXPECT_THAT(Fields(kContentAlone, R"({"tools":[{"name":"f"}],"messages":[
      {"role":"user","content":"a","name":"ann"},
      {"role":"assistant","content":"b","reasoning_content":"why"}]})")
                  .unrendered,
              ElementsAre("tools", "name", "reasoning_content"));
  EXPECT_THAT(Fields(kContentAlone, R"({"messages":[
      {"role":"assistant","content":"b","tool_calls":[{"function":{"name":"f"}}]}]})")
                  .unrendered,
              ElementsAre("tool_calls"));
  EXPECT_THAT(Fields(kContentAlone, R"({"kwargs":{"mood":"kind"},"messages":[
      {"role":"user","content":"b","loss":false}]})")
                  .unrendered,
              ElementsAre("loss", "chat_template_kwargs.mood"));
}

TEST_F(NoteFieldsTest, ReportsContentOfAMessageThatIsSkipped) {
  EXPECT_THAT(Fields("{% for m in messages[1:] %}{{ m.content }}{% endfor %}",
                     R"({"messages":[{"role":"user","content":"a"}]})")
                  .unrendered,
              ElementsAre("content"));
}

TEST_F(NoteFieldsTest, IsSilentAboutFieldsThatTemplatesNeedNotPrint) {
  EXPECT_THAT(Fields("{% for m in messages %}{% if m.prefix %}>{% endif %}{{ m.content }}"
                     "{% for c in m.tool_calls %}{{ c.function.name }}{% endfor %}{% endfor %}",
                     R"({"tools":[],"messages":[
      {"role":"user","content":"a","weight":0,"train":false,"prefix":true,"refusal":null},
      {"role":"assistant","content":"","tool_calls":[{"id":"x","function":{"name":"f"}}]},
      {"role":"tool","content":"5","tool_call_id":"x","name":"f"},
      {"role":"assistant","content":"c","tool_calls":[],"reasoning_content":" "}]})")
                  .unrendered,
              IsEmpty());
}

TEST_F(NoteFieldsTest, ReportsNameOfAToolThatNoCallSays) {
  EXPECT_THAT(Fields(kContentAlone, R"({"messages":[{"role":"tool","content":"5","name":"f"}]})")
                  .unrendered,
              ElementsAre("name"));
}

TEST_F(NoteFieldsTest, CountsReasoningUnderEachOfItsNames) {
  const char* prints =
      "{% for m in messages %}{{ m.reasoning_content }}{{ m.content }}{% endfor %}";
  EXPECT_THAT(Fields(prints, R"({"messages":[
      {"role":"assistant","content":"b","thinking":"why"},
      {"role":"assistant","content":"b","reasoning":"why","reasoning_content":"why"}]})")
                  .unrendered,
              IsEmpty());
  EXPECT_THAT(Fields(prints, R"({"messages":[
      {"role":"assistant","content":"b","reasoning":"other","reasoning_content":"why"}]})")
                  .unrendered,
              ElementsAre("reasoning"));
}

TEST_F(NoteFieldsTest, SeesQuotedArguments) {
  EXPECT_TRUE(Fields("{{ messages|tojson }}", R"({"messages":[{"role":"assistant",
      "tool_calls":[{"function":{"name":"f","arguments":"{\"a\": 1}"}}]}]})")
                  .quoted_arguments);
}

}  // namespace
}  // namespace trainerd::engine
