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

TEST(RowNotesTest, SeesEmptyAnswersThatAreTrained) {
  EXPECT_TRUE(Notes(R"([{"role":"assistant","content":" \n\u3000"}])").empty_answer);
  EXPECT_FALSE(Notes(R"([{"role":"assistant","content":"","weight":0}])").empty_answer);
  EXPECT_FALSE(Notes(R"([{"role":"assistant","content":"","train":false}])").empty_answer);
  EXPECT_FALSE(
      Notes(R"([{"role":"assistant","content":null,"tool_calls":[{"name":"f"}]}])").empty_answer);
  EXPECT_TRUE(Notes(R"([{"role":"assistant","content":"","tool_calls":[]}])").empty_answer);
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
