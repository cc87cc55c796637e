// SPDX-License-Identifier: Apache-2.0
// The findings of PrepareData for bad, skipped and odd records: kind, count, location and advice.
#include "tests/engine/data/prepare_fixture.h"

namespace trainerd::engine {
namespace {

using PrepareFindingsTest = PrepareFixture;

TEST_F(PrepareFindingsTest, NamesFileAndLineOfBadInput) {
  const std::string good = Row("a", "b");
  EXPECT_EQ(Fault(Config(good + "hello\n")).substr(0, 32), "train.jsonl:2:1: the line is not");
  EXPECT_EQ(Fault(Config(good + R"({"messages":[{"role":"assitant","content":"x"}]})"
                                "\n")),
            "train.jsonl:2: unknown role \"assitant\" in messages[0]; did you mean \"assistant\"? "
            "Roles are "
            "system, user, assistant and tool; fix the record, or set data.bad_rows: skip");
  EXPECT_NE(Fault(Config(good + good.substr(0, good.size() / 2)))
                .find("the file ends inside this record, without a newline: it was cut off"),
            std::string::npos);
  EXPECT_NE(Fault(Config("")).find("train.jsonl: is empty"), std::string::npos);
  EXPECT_NE(Fault(Config("\n  \n")).find("train.jsonl: has only blank lines"), std::string::npos);
  v1::JobConfig missing = Config(good);
  missing.mutable_data()->mutable_train(0)->set_path(folder_.path() + "/none.jsonl");
  EXPECT_NE(Fault(missing).find("none.jsonl: no such file"), std::string::npos);
}

TEST_F(PrepareFindingsTest, SkipsAndCountsBadRowsWhenAsked) {
  v1::JobConfig config = Config(Row("a", "1") + "nope\n" + Row("b", "2") + "{}\n[]\n");
  config.mutable_data()->set_bad_rows(v1::DataConfig::BAD_ROWS_SKIP);
  const auto data = Prepare(config);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(data->report.examples(), 5);
  EXPECT_EQ(data->report.trained_examples(), 2);
  EXPECT_EQ(TrainExample(*data, 1).index, 2);
  EXPECT_EQ(Find(*data, "BAD_JSON")->count(), 1);
  EXPECT_FALSE(Find(*data, "BAD_JSON")->error());
  EXPECT_EQ(Find(*data, "BAD_JSON")->first_places(0), folder_.path() + "/train.jsonl:2:2");
  EXPECT_EQ(Find(*data, "NO_MESSAGES")->count(), 1);
  EXPECT_EQ(Find(*data, "BAD_SCHEMA")->count(), 1);
}

TEST_F(PrepareFindingsTest, LeavesRowsWithoutTargetOutAndFailsWhenNoneIsLeft) {
  const std::string no_assistant = R"({"messages":[{"role":"user","content":"x"}]})"
                                   "\n";
  const std::string off = R"({"messages":[{"role":"user","content":"x"},)"
                          R"({"role":"assistant","content":"y","weight":0}]})"
                          "\n";
  const auto data = Prepare(Config(no_assistant + off + Row("a", "b")));
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(data->train.size(), 1u);
  EXPECT_EQ(TrainExample(*data, 0).index, 2);
  EXPECT_EQ(Find(*data, "NO_TARGET")->count(), 2);
  EXPECT_EQ(Find(*data, "NO_ASSISTANT")->count(), 1);
  EXPECT_EQ(
      Fault(Config(no_assistant + off)),
      "data.train: no row can be trained on: 2 records read, 2 without a token to train (1 of them "
      "without an assistant message); check the roles of the messages, data.train_on and "
      "data.max_length");
}

TEST_F(PrepareFindingsTest, TooLongRowsAreCutSkippedOrRefused) {
  const std::string contents =
      Row("q", std::string(100, 'x')) + Row(std::string(100, 'y'), "late") + Row("a", "b");
  v1::JobConfig config = Config(contents);
  config.mutable_data()->set_max_length(60);
  auto data = Prepare(config);
  ASSERT_TRUE(data.ok()) << data.status();
  ASSERT_EQ(data->train.size(), 2u);
  EXPECT_EQ(TrainExample(*data, 0).ids.size(), 60u);
  EXPECT_EQ(TrainExample(*data, 0).labels.back(), 'x')
      << "the answer is cut, its end token is gone";
  EXPECT_EQ(data->report.truncated(), 2);
  EXPECT_EQ(Find(*data, "TOO_LONG")->count(), 2);
  EXPECT_EQ(Find(*data, "NO_TARGET")->count(), 1) << "the second row lost its answer";
  EXPECT_EQ(data->report.tokens().max(), 122) << "lengths are those before truncation";

  config.mutable_data()->set_too_long(v1::DataConfig::TOO_LONG_SKIP);
  data = Prepare(config);
  ASSERT_TRUE(data.ok());
  EXPECT_EQ(data->train.size(), 1u);
  EXPECT_EQ(data->report.truncated(), 0);
  EXPECT_EQ(Find(*data, "TOO_LONG")->count(), 2);

  config.mutable_data()->set_too_long(v1::DataConfig::TOO_LONG_FAIL);
  config.mutable_data()->set_bad_rows(v1::DataConfig::BAD_ROWS_SKIP);
  EXPECT_EQ(
      Fault(config),
      "train.jsonl:1: the conversation has 122 tokens, data.max_length is 60; raise it, or set "
      "data.too_long to truncate or skip");
}

TEST_F(PrepareFindingsTest, WarnsOfWhatIsTrainedButHardlyMeant) {
  const auto data =
      Prepare(Config(Row("a", "") + Row("b", "done<|im_end|>") + Row("b2", "done<|im_end|>\n") +
                     Row("c", "d") + Row("c", "d") + Row("c", "d")));
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(Find(*data, "EMPTY_ANSWER")->count(), 1);
  EXPECT_EQ(Find(*data, "DOUBLED_END")->count(), 2);
  EXPECT_EQ(Find(*data, "CONTROL_TOKENS")->count(), 2);
  EXPECT_EQ(Find(*data, "DUPLICATE")->count(), 2);
  EXPECT_EQ(Find(*data, "DUPLICATE")->message(),
            "the same conversation as " + folder_.path() + "/train.jsonl:4");
}

TEST_F(PrepareFindingsTest, SaysWhichTemplateErrorStandsAtWhichRow) {
  v1::JobConfig config = Config(Row("a", "b"));
  config.mutable_data()->set_chat_template(
      folder_.Write("t.jinja", "{{ raise_exception('Roles must alternate') }}"));
  const std::string fault = Fault(config);
  EXPECT_EQ(fault.substr(0, 15), "train.jsonl:1: ");
  EXPECT_NE(fault.find("Roles must alternate"), std::string::npos);
}

TEST_F(PrepareFindingsTest, FindingsAreErrorsWarningsOrNothingAsTheJobSays) {
  v1::JobConfig config = Config(Row("a", "") + Row("c", "d") + Row("c", "d"));
  config.mutable_data()->mutable_findings()->set_empty_answer(v1::FindingsConfig::REACTION_IGNORE);
  auto data = Prepare(config);
  ASSERT_TRUE(data.ok());
  EXPECT_EQ(Find(*data, "EMPTY_ANSWER"), nullptr);
  EXPECT_NE(Find(*data, "DUPLICATE"), nullptr);
  config.mutable_data()->mutable_findings()->set_duplicate(v1::FindingsConfig::REACTION_ERROR);
  EXPECT_EQ(Fault(config),
            "train.jsonl:3: the same conversation as train.jsonl:2 (DUPLICATE, 1 time); "
            "fix the data, or set data.findings.duplicate: warn");
  data = Prepare(config, {.keep_going = true});
  ASSERT_TRUE(data.ok());
  EXPECT_TRUE(Find(*data, "DUPLICATE")->error());
}

TEST_F(PrepareFindingsTest, KeepGoingTurnsErrorsIntoFindings) {
  v1::JobConfig config = Config(Row("a", "b") + "nope\n" + "{}\n");
  config.mutable_data()->add_train()->set_path(folder_.path() + "/none.jsonl");
  const auto data = Prepare(config, {.keep_going = true});
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_TRUE(Find(*data, "BAD_JSON")->error());
  EXPECT_TRUE(Find(*data, "NO_MESSAGES")->error());
  EXPECT_TRUE(Find(*data, "BAD_FILE")->error());
  EXPECT_EQ(data->report.trained_examples(), 1);
}

// What cannot be read may hold what seems to be missing.
TEST_F(PrepareFindingsTest, ReportsOneErrorOfAFileThatIsForeignOrCutOff) {
  const std::string row = Row("a", "b");
  const std::vector<std::pair<std::string, const char*>> cases = {
      {"nope\n", "BAD_JSON"},
      {"a,b\n1,2\n", "BAD_JSON"},
      {row.substr(0, row.size() / 2), "BAD_JSON"},
      {"PAR1\x15\x04", "BAD_FILE"},
      {"[" + row.substr(0, row.size() - 1) + ",", "BAD_FILE"},
      {"\n\n", "BAD_FILE"},
      {R"({"messages":[]})"
       "\n",
       "NO_MESSAGES"}};
  for (const auto& [contents, code] : cases) {
    v1::JobConfig config = Config(contents);
    config.mutable_data()->set_validation_fraction(0.5);
    auto data = Prepare(config, {.keep_going = true});
    ASSERT_TRUE(data.ok()) << data.status();
    ASSERT_EQ(data->report.findings_size(), 1) << data->report.ShortDebugString();
    EXPECT_EQ(data->report.findings(0).code(), code);
    EXPECT_TRUE(data->train_has_errors);
    config = Config(Row("c", "d"));
    config.mutable_data()->set_validation(folder_.Write("validation.jsonl", contents));
    data = Prepare(config, {.keep_going = true});
    ASSERT_TRUE(data.ok()) << data.status();
    ASSERT_EQ(data->report.findings_size(), 1) << data->report.ShortDebugString();
    EXPECT_EQ(data->report.findings(0).code(), code);
    EXPECT_FALSE(data->train_has_errors);
  }
}

// Bad records that are skipped are no error, so that nothing remains is one.
TEST_F(PrepareFindingsTest, ReportsThatAllRecordsAreSkipped) {
  v1::JobConfig config = Config("nope\n");
  config.mutable_data()->set_bad_rows(v1::DataConfig::BAD_ROWS_SKIP);
  EXPECT_EQ(Fault(config),
            "data.train: no row can be trained on: 1 record read, 1 bad; fix the records");
  const auto data = Prepare(config, {.keep_going = true});
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_FALSE(Find(*data, "BAD_JSON")->error());
  EXPECT_TRUE(Find(*data, "NO_ROWS")->error());
}

TEST_F(PrepareFindingsTest, WarnsOfAProfileWithATemplateThatThinks) {
  v1::JobConfig config = Config(Row("a", "b"));
  config.mutable_data()->set_profile(v1::DataConfig::PROFILE_EMOJI_THINK);
  EXPECT_EQ(Find(*Prepare(config), "TWO_THINKING_FORMS"), nullptr);
  config.mutable_data()->set_chat_template(
      folder_.Write("t.jinja", ChatTemplate::ChatMlSource() + "{% if false %}<think>{% endif %}"));
  EXPECT_NE(Find(*Prepare(config), "TWO_THINKING_FORMS"), nullptr);
}

TEST_F(PrepareFindingsTest, NamesLineAndColumnInAnArray) {
  const std::string good = R"({"messages":[{"role":"user","content":"a"},)"
                           R"({"role":"assistant","content":"b"}]})";
  EXPECT_EQ(Fault(Config("[\n" + good + ",\n  {\"messages\":\n [}]}]")).substr(0, 33),
            "train.jsonl:4:3: the line is not ");
  EXPECT_EQ(Fault(Config("[\n" + good + ",\n  {\"messages\": 3}]")).substr(0, 36),
            "train.jsonl:3: \"messages\" is 3; it m");
  const auto data = Prepare(Config("[\n" + good + ",\n\n" + good + "]"));
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(data->train.size(), 2u);
  EXPECT_EQ(Find(*data, "DUPLICATE")->first_places(0), folder_.path() + "/train.jsonl:4");
}

TEST_F(PrepareFindingsTest, ListsKeysThatAreNotRead) {
  const auto with = [](const std::string& keys) {
    return "{" + keys + R"(,"messages":[{"role":"user","content":"a"},)" +
           R"({"role":"assistant","content":"b"}]})" + "\n";
  };
  v1::JobConfig config = Config(with(R"("id":1)") + with(R"("id":2,"images":["a.jpg"])"));
  config.mutable_data()->set_validation(folder_.Write("v.jsonl", with(R"("x\"y":null,"z":NaN)")));
  auto data = Prepare(config);
  ASSERT_TRUE(data.ok()) << data.status();
  const v1::DataReport::Finding& finding = *Find(*data, "UNUSED_KEY");
  EXPECT_EQ(finding.message(),
            "keys of records are not read: \"id\" (line 1), \"images\" (line 2; only text is "
            "trained), \"z\" (line 1 of file 2)");
  EXPECT_EQ(finding.count(), 3);
  EXPECT_FALSE(finding.error());
  EXPECT_EQ(finding.first_places_size(), 3);
  EXPECT_EQ(finding.first_places(2), folder_.path() + "/v.jsonl:1");
  config.mutable_data()->mutable_findings()->set_unused_key(v1::FindingsConfig::REACTION_ERROR);
  EXPECT_NE(
      Fault(config).find("(UNUSED_KEY, 3 times); fix the data, or set data.findings.unused_key"),
      std::string::npos);
  config.mutable_data()->mutable_findings()->set_unused_key(v1::FindingsConfig::REACTION_IGNORE);
  EXPECT_EQ(Find(*Prepare(config), "UNUSED_KEY"), nullptr);
}

TEST_F(PrepareFindingsTest, ListsAFewOfManyKeys) {
  std::string row = R"({"messages":[{"role":"user","content":"a"},)"
                    R"({"role":"assistant","content":"b"}])";
  for (int i = 0; i < 30; ++i) row += ",\"k" + std::to_string(i) + "\":1";
  const auto data = Prepare(Config(row + "}\n"));
  ASSERT_TRUE(data.ok()) << data.status();
  const std::string message = Find(*data, "UNUSED_KEY")->message();
  EXPECT_NE(message.find("\"k19\" (line 1), and others"), std::string::npos) << message;
  EXPECT_EQ(message.find("k20"), std::string::npos);
}

TEST_F(PrepareFindingsTest, EmptyAnswersAreBadRecordsIfTheJobMakesThemErrors) {
  v1::JobConfig config = Config(Row("a", "") + Row("c", "d"));
  config.mutable_data()->mutable_findings()->set_empty_answer(v1::FindingsConfig::REACTION_ERROR);
  EXPECT_EQ(Fault(config).substr(0, 40), "train.jsonl:1: messages[1] is an answer ");
  auto data = Prepare(config, {.keep_going = true});
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_TRUE(Find(*data, "EMPTY_ANSWER")->error());
  config.mutable_data()->set_bad_rows(v1::DataConfig::BAD_ROWS_SKIP);
  data = Prepare(config);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(data->train.size(), 1u);
  EXPECT_FALSE(Find(*data, "EMPTY_ANSWER")->error());
}

TEST_F(PrepareFindingsTest, ReportsAValidationFractionWithoutExample) {
  v1::JobConfig config = Config(Row("a", "b"));
  config.mutable_data()->set_validation_fraction(0.5);
  EXPECT_EQ(Fault(config),
            "data.validation_fraction 0.5 of 1 example yields no example to validate on; add data, "
            "or set it to 0 or replace it by data.validation");
  const auto data = Prepare(config, {.keep_going = true});
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_TRUE(Find(*data, "NO_ROWS")->error());
  config = Config(Row("a", "b") + Row("c", "d"));
  config.mutable_data()->set_validation_fraction(0.001);
  EXPECT_EQ(Prepare(config)->validation.size(), 1u);
}

// Token 24, the only target of the validation file, is the first of a piece of 8, and the first
// token of a piece is no target.
TEST_F(PrepareFindingsTest, ReportsAValidationFileWithoutPieceToValidateOn) {
  v1::JobConfig config = Config(Row("a", "b"));
  config.mutable_data()->set_max_length(8);
  config.mutable_data()->set_packing(v1::DataConfig::PACKING_BFD_SPLIT);
  config.mutable_data()->set_validation(folder_.Write("v.jsonl", Row("abcd", "")));
  ASSERT_TRUE(Prepare(config).ok());
  config.mutable_data()->set_validation(folder_.Write("v.jsonl", Row("abcde", "")));
  EXPECT_EQ(Fault(config).substr(0, 57),
            "v.jsonl: no row can be trained on: 1 record read; check t");
}

}  // namespace
}  // namespace trainerd::engine
