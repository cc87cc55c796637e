// SPDX-License-Identifier: Apache-2.0
// The notes that depend on tokens (doubled ends, control tokens) are tested in
// prepare_findings_test.cc, through a template.
#include "engine/data/examples/example_notes.h"

#include "gtest/gtest.h"

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

}  // namespace
}  // namespace trainerd::engine
