// SPDX-License-Identifier: Apache-2.0
// Expectations: the table at the top of preference_pair.h, and trl/data_utils.py (extract_prompt).
#include "engine/data/source/preference_pair.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace trainerd::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class PreferencePairTest : public ::testing::Test {
 protected:
  // The record's fault as "CODE message", or "".
  std::string Read(const std::string& record, SourceFormat format = SourceFormat::kPreference) {
    std::string padded = record;
    padded.resize(record.size() + kJsonPadding);
    ConversationParser parser;
    fault_ = parser.Parse(std::string_view(padded).substr(0, record.size()), format, &read_);
    return fault_ ? fault_->code + " " + fault_->message : "";
  }
  // "PROMPT | CHOSEN | REJECTED" of a record of texts.
  std::string Texts(const std::string& record) {
    const std::string fault = Read(record);
    if (!fault.empty() || !read_.text || !read_.pair) return "fault: " + fault;
    const size_t size = read_.pair->prompt_size;
    EXPECT_EQ(read_.text->substr(0, size), read_.pair->text.substr(0, size));
    return read_.text->substr(0, size) + "|" + read_.text->substr(size) + "|" +
           read_.pair->text.substr(size);
  }
  // The same of a record of messages, each as its role's first letter and its content.
  std::string Messages(const std::string& record) {
    const std::string fault = Read(record);
    if (!fault.empty() || read_.text || !read_.pair) return "fault: " + fault;
    std::string text;
    const auto add = [&](const nlohmann::ordered_json& messages, size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i) {
        text += messages[i]["role"].get<std::string>().substr(0, 1) + ":" +
                messages[i].value("content", "") + " ";
      }
    };
    const RejectedAnswer& pair = *read_.pair;
    add(read_.messages, 0, pair.prompt_size);
    text += "| ";
    add(read_.messages, pair.prompt_size, read_.messages.size());
    text += "| ";
    add(pair.messages, pair.prompt_size, pair.messages.size());
    return text;
  }

  Conversation read_;
  std::optional<RecordError> fault_;
};

TEST_F(PreferencePairTest, JoinsTextsAsTheyAre) {
  EXPECT_EQ(Texts(R"({"prompt":"The sky is","chosen":" blue","rejected":" green "})"),
            "The sky is| blue| green ");
  EXPECT_EQ(Texts(R"({"prompt":"","chosen":"a","rejected":"b"})"), "|a|b");
  EXPECT_EQ(Texts(R"({"prompt":"p","chosen":"","rejected":"b"})"), "p||b") << "found later";
}

TEST_F(PreferencePairTest, TakesTheSharedBeginningOfTextsAsPrompt) {
  EXPECT_EQ(Texts(R"({"chosen":"The sky is blue.","rejected":"The sky is green."})"),
            "The sky is| blue.| green.");
  EXPECT_EQ(Texts(R"({"chosen":"bluish","rejected":"bluer"})"), "blu|ish|er");
  EXPECT_EQ(Texts(R"({"prompt":null,"chosen":"xa","rejected":"xb"})"), "x|a|b");
  // One is the beginning of the other: a character is left to each answer.
  EXPECT_EQ(Texts(R"({"chosen":"abc","rejected":"ab"})"), "a|bc|b");
  EXPECT_EQ(Texts(R"({"chosen":"xé","rejected":"xéy"})"), "x|é|éy");
  EXPECT_EQ(Texts(R"({"chosen":"same","rejected":"same"})"), "sam|e|e");
  // é and è share their first byte.
  EXPECT_EQ(Texts(R"({"chosen":"xé","rejected":"xè"})"), "x|é|è");
  for (const char* record :
       {R"({"chosen":"a","rejected":"b"})", R"({"chosen":"","rejected":""})",
        R"({"chosen":"é","rejected":"è"})", R"({"chosen":"a ","rejected":"b "})"}) {
    EXPECT_THAT(Texts(record), HasSubstr("begin with different text; give what both answer"));
  }
}

TEST_F(PreferencePairTest, ReadsLists) {
  EXPECT_EQ(Messages(R"({"prompt":[{"role":"user","content":"q"}],
                         "chosen":[{"role":"assistant","content":"a"}],
                         "rejected":[{"role":"assistant","content":"b"}]})"),
            "u:q | a:a | a:b ");
  EXPECT_FALSE(read_.pair->implicit_prompt);
  // Answers of the prompt are not trained.
  EXPECT_EQ(Messages(R"({"prompt":[{"role":"user","content":"q"},
                                   {"role":"assistant","content":"x"},
                                   {"role":"user","content":"r"}],
                         "chosen":[{"role":"assistant","content":"a"}],
                         "rejected":[{"role":"assistant","content":"b"},
                                     {"role":"tool","content":"t"}]})"),
            "u:q a:x u:r | a:a | a:b t:t ");
  EXPECT_EQ(read_.messages[1]["train"], false);
}

TEST_F(PreferencePairTest, TakesTheSharedMessagesAsPrompt) {
  EXPECT_EQ(Messages(R"({"chosen":[{"role":"user","content":"q"},
                                   {"role":"assistant","content":"a"}],
                         "rejected":[{"content":"q","role":"user"},
                                     {"role":"assistant","content":"b"}]})"),
            "u:q | a:a | a:b ")
      << "the order of keys does not matter";
  EXPECT_TRUE(read_.pair->implicit_prompt);
  // Equal ones: the last message is the answer.
  EXPECT_EQ(Messages(R"({"chosen":[{"role":"user","content":"q"},
                                   {"role":"assistant","content":"a"}],
                         "rejected":[{"role":"user","content":"q"},
                                     {"role":"assistant","content":"a"}]})"),
            "u:q | a:a | a:a ");
  EXPECT_THAT(Messages(R"({"chosen":[{"role":"user","content":"q"},
                                     {"role":"assistant","content":"a"}],
                           "rejected":[{"role":"user","content":"other"},
                                       {"role":"assistant","content":"b"}]})"),
              HasSubstr("begin with different messages"));
}

TEST_F(PreferencePairTest, AcceptsATextPromptBesideConversations) {
  const std::string conversations = R"("chosen":[{"role":"user","content":"q"},
      {"role":"assistant","content":"a"}],"rejected":[{"role":"user","content":"q"},
      {"role":"assistant","content":"b"}]})";
  EXPECT_EQ(Messages(R"({"prompt":"q",)" + conversations), "u:q | a:a | a:b ");
  EXPECT_THAT(Messages(R"({"prompt":"another",)" + conversations),
              HasSubstr("\"prompt\" is \"another\", which is none of the messages"));
  EXPECT_EQ(Messages(R"({"prompt":"q","chosen":[{"role":"assistant","content":"a"}],
                         "rejected":[{"role":"assistant","content":"b"}]})"),
            "u:q | a:a | a:b ");
  EXPECT_EQ(Messages(R"({"prompt":[{"role":"user","content":"q"}],"chosen":"a","rejected":"b"})"),
            "u:q | a:a | a:b ");
}

TEST_F(PreferencePairTest, PutsTheSystemMessageInFrontOfBoth) {
  EXPECT_EQ(Messages(R"({"system":"s","prompt":[{"role":"user","content":"q"}],
                         "chosen":"a","rejected":"b"})"),
            "s:s u:q | a:a | a:b ");
  EXPECT_THAT(read_.unused_keys, ElementsAre());
  EXPECT_EQ(read_.pair->messages[0]["content"], "s");
  EXPECT_EQ(PairMessageName(*read_.pair, "rejected", 1), "prompt[0]");
  EXPECT_EQ(PairMessageName(*read_.pair, "rejected", 2), "rejected[0]");
  // Texts have no messages, so the key stays unread.
  EXPECT_EQ(Read(R"({"system":"s","prompt":"q","chosen":"a","rejected":"b","score":1})"), "");
  EXPECT_THAT(read_.unused_keys, ElementsAre("system", "score"));
}

TEST_F(PreferencePairTest, NamesMessagesOfAnImplicitPromptByTheirList) {
  ASSERT_EQ(Read(R"({"system":"s","chosen":[{"role":"user","content":"q"},
                     {"role":"assistant","content":"a"}],"rejected":[{"role":"user","content":"q"},
                     {"role":"assistant","content":"b"}]})"),
            "");
  EXPECT_EQ(PairMessageName(*read_.pair, "chosen", 0), "the system message");
  EXPECT_EQ(PairMessageName(*read_.pair, "chosen", 1), "chosen[0]");
  EXPECT_EQ(PairMessageName(*read_.pair, "rejected", 2), "rejected[1]");
}

TEST_F(PreferencePairTest, ReadsToolsAndVariables) {
  ASSERT_EQ(Read(R"({"prompt":[{"role":"user","content":"q"}],"chosen":"a","rejected":"b",
                     "tools":"[{\"name\":\"f\"}]","chat_template_kwargs":{"x":1}})"),
            "");
  EXPECT_EQ(read_.tools.size(), 1u);
  EXPECT_EQ(read_.variables["x"], 1);
}

TEST_F(PreferencePairTest, RefusesWhatCannotBeAPair) {
  const std::string prompt = R"({"prompt":[{"role":"user","content":"q"}],)";
  EXPECT_EQ(Read(prompt + R"("chosen":"a"})"),
            "NOT_A_PAIR the record has no \"rejected\"; it has the keys \"prompt\", \"chosen\"; a "
            "preference record is {\"prompt\", \"chosen\", \"rejected\"}");
  EXPECT_FALSE(fault_->fatal) << "data.bad_rows decides";
  EXPECT_THAT(Read(prompt + R"("chosen":null,"rejected":"b"})"),
              StartsWith("NOT_A_PAIR the record has no \"chosen\""));
  EXPECT_EQ(Read(prompt + R"("chosen":[],"rejected":"b"})"),
            "BAD_SCHEMA \"chosen\" is an empty list; it must hold the answer");
  EXPECT_EQ(Read(R"({"prompt":[],"chosen":"a","rejected":"b"})"),
            "BAD_SCHEMA \"prompt\" is an empty list; it must hold the messages before the answer");
  EXPECT_EQ(Read(prompt + R"("chosen":"a","rejected":7})"),
            "BAD_SCHEMA \"rejected\" is 7; it must be text or a list of messages");
  EXPECT_THAT(Read(prompt + R"("chosen":"a","rejected":[{"role":"assistnt","content":"b"}]})"),
              StartsWith("UNKNOWN_ROLE unknown role \"assistnt\" in rejected[0]"));
  EXPECT_THAT(Read(prompt + R"("chosen":"a","rejected":["b"]})"),
              StartsWith("BAD_SCHEMA rejected[0] is \"b\""));
  for (const char* weight : {"0", "0.5", "2"}) {
    EXPECT_EQ(Read(prompt + R"("chosen":[{"role":"assistant","content":"a","weight":)" + weight +
                   R"(}],"rejected":"b"})"),
              std::string("BAD_SCHEMA chosen[0].weight is ") + weight +
                  "; with preference an answer counts as a whole: remove it");
  }
  EXPECT_EQ(Read(prompt + R"("chosen":[{"role":"assistant","content":"a","weight":1,)"
                          R"("train":true}],"rejected":"b"})"),
            "");
  EXPECT_THAT(Read(prompt + R"("chosen":[{"role":"user","content":"q"},
                                         {"role":"assistant","content":"a"}],
                               "rejected":[{"role":"user","content":"q"},
                                           {"role":"assistant","content":"b"}]})"),
              HasSubstr("begin with the messages of \"prompt\", which would be doubled"));
}

TEST_F(PreferencePairTest, TellsRecordsOfTheOtherKindOfJob) {
  EXPECT_EQ(Read(R"({"messages":[{"role":"user","content":"q"}]})"),
            "NOT_A_PAIR the record has the form messages; a job with preference trains on "
            "{\"prompt\", \"chosen\", \"rejected\"}: take preference out of the job file, or the "
            "record out of the data");
  EXPECT_TRUE(fault_->fatal);
  EXPECT_THAT(Read(R"({"prompt":"q","completion":"a","label":true})"),
              HasSubstr("the form prompt_completion"));
  for (const SourceFormat format :
       {SourceFormat::kMessages, SourceFormat::kPromptCompletion, SourceFormat::kText,
        SourceFormat::kAlpaca, SourceFormat::kShareGpt}) {
    EXPECT_THAT(Read(R"({"prompt":"q","chosen":"a","rejected":"b"})", format),
                StartsWith("UNEXPECTED_PAIR the record is a pair of answers"));
    EXPECT_TRUE(fault_->fatal);
  }
  // A file that has both kinds of keys can be read by both kinds of job.
  const std::string both = R"({"messages":[{"role":"user","content":"q"}],"prompt":"q",)"
                           R"("chosen":"a","rejected":"b"})";
  EXPECT_EQ(Read(both), "");
  EXPECT_EQ(Read(both, SourceFormat::kMessages), "");
}

}  // namespace
}  // namespace trainerd::engine
