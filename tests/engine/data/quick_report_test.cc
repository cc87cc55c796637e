// SPDX-License-Identifier: Apache-2.0
#include "engine/data/quick_report.h"

#include "tests/engine/data/test_data.h"

namespace trainerd::engine {
namespace {

class QuickReportTest : public ::testing::Test {
 protected:
  v1::JobConfig Config(const std::string& contents) {
    return BaseConfig(folder_.path() + "/model", folder_.Write("train.jsonl", contents));
  }
  static std::string Errors(const v1::DataReport& report) {
    std::string codes;
    for (const auto& finding : report.findings()) {
      if (finding.error()) codes += finding.code() + " ";
    }
    return codes;
  }
  const TempDir folder_;
};

TEST_F(QuickReportTest, CountsSmallFilesExactly) {
  const v1::DataReport report = QuickReport(Config(Row("a", "b") + Row("c", "d")));
  EXPECT_TRUE(report.quick());
  EXPECT_EQ(report.examples(), 2);
  EXPECT_EQ(report.findings_size(), 0);
  EXPECT_EQ(report.tokens().count(), 2) << "all was read";
  EXPECT_GT(report.tokens().total(), 1);
  // Nothing by which somebody could choose data.max_length: nothing was tokenized.
  EXPECT_EQ(report.tokens().p50(), 0);
  EXPECT_EQ(report.tokens().p99(), 0);
  EXPECT_EQ(report.tokens().max(), 0);
}

TEST_F(QuickReportTest, NamesBadRowsByLine) {
  v1::JobConfig config = Config(Row("a", "b") + "nope\n" +
                                R"({"messages":[{"role":"user","content":"x"}]})"
                                "\n");
  v1::DataReport report = QuickReport(config);
  EXPECT_EQ(Errors(report), "BAD_JSON ");
  EXPECT_EQ(report.findings(0).first_places(0), folder_.path() + "/train.jsonl:2:2");
  EXPECT_EQ(report.findings(1).code(), "NO_ASSISTANT");
  config.mutable_data()->set_bad_rows(v1::DataConfig::BAD_ROWS_SKIP);
  EXPECT_EQ(Errors(QuickReport(config)), "");
}

TEST_F(QuickReportTest, SaysThatTheFileWasCutOff) {
  const v1::DataReport report = QuickReport(Config(Row("a", "b") + Row("c", "d").substr(0, 20)));
  EXPECT_EQ(Errors(report), "BAD_JSON ");
  EXPECT_NE(report.findings(0).message().find("it was cut off, copy it again"), std::string::npos);
}

TEST_F(QuickReportTest, EstimatesAndLooksAtTheEndOfALargeFile) {
  std::string contents;
  const std::string row = Row(std::string(400, 'q'), std::string(550, 'a'));
  while (contents.size() < 3 * static_cast<size_t>(kQuickHeadBytes)) contents += row;
  const double rows = static_cast<double>(contents.size() / row.size());
  v1::DataReport report = QuickReport(Config(contents));
  EXPECT_EQ(Errors(report), "");
  EXPECT_NEAR(static_cast<double>(report.examples()), rows, rows * 0.01);
  EXPECT_LT(report.tokens().count(), report.examples()) << "a part was read";
  EXPECT_NEAR(static_cast<double>(report.tokens().total()),
              static_cast<double>(contents.size()) / 4, 0.01 * rows * 250);
  report = QuickReport(Config(contents + row.substr(0, 300)));
  EXPECT_EQ(Errors(report), "BAD_JSON ");
  EXPECT_NE(report.findings(0).message().find("it was cut off"), std::string::npos);
}

TEST_F(QuickReportTest, TellsWhetherEverythingWasRead) {
  const auto all_read = [](const v1::DataReport& report) {
    return report.tokens().count() == report.examples() + report.validation_examples();
  };
  // Shorter than the beginning by less than one more block, and by a row longer.
  const std::string row = Row(std::string(400, 'q'), std::string(550, 'a'));
  std::string whole;
  while (whole.size() + row.size() <= static_cast<size_t>(kQuickHeadBytes)) whole += row;
  EXPECT_TRUE(all_read(QuickReport(Config(whole))));
  std::string part;
  while (part.size() < static_cast<size_t>(kQuickHeadBytes) + (2 << 20)) part += row;
  EXPECT_FALSE(all_read(QuickReport(Config(part))));
  // One short row after what was read is enough: it must not be lost in rounding.
  std::string barely = Row("long", std::string(static_cast<size_t>(kQuickHeadBytes), 'a'));
  EXPECT_TRUE(all_read(QuickReport(Config(barely))));
  EXPECT_FALSE(all_read(QuickReport(Config(barely + std::string(5 << 20, '\n') + Row("a", "b")))));
  // The validation file counts too.
  v1::JobConfig config = Config(whole);
  config.mutable_data()->set_validation(folder_.Write("validation.jsonl", Row("a", "b")));
  EXPECT_TRUE(all_read(QuickReport(config)));
  config.mutable_data()->set_validation(folder_.Write("validation.jsonl", part));
  EXPECT_FALSE(all_read(QuickReport(config)));
}

TEST_F(QuickReportTest, KnowsTheFormsOfTheFiles) {
  v1::JobConfig config = Config(R"({"instruction":"a","output":"b"})"
                                "\n");
  EXPECT_EQ(QuickReport(config).format(), "alpaca");
  EXPECT_EQ(Errors(QuickReport(config)), "");
}

TEST_F(QuickReportTest, SeesWhatIsMissing) {
  v1::JobConfig config = Config(Row("a", "b"));
  config.mutable_data()->set_validation(folder_.path() + "/none.jsonl");
  EXPECT_EQ(Errors(QuickReport(config)), "BAD_FILE ");
}

TEST_F(QuickReportTest, FurtherCheckOfRecordsIsAnErrorWithTheLocation) {
  v1::JobConfig config = Config(Row("a", "b") + Row("<x>", "d"));
  config.mutable_data()->set_bad_rows(v1::DataConfig::BAD_ROWS_SKIP);
  const v1::DataReport report =
      QuickReport(config, [](const Conversation& conversation) -> std::optional<RecordError> {
        if (conversation.messages[0]["content"] != "<x>") return std::nullopt;
        return RecordError{.code = "X", .message = "it has an x"};
      });
  ASSERT_EQ(Errors(report), "X ");
  EXPECT_EQ(report.findings(0).first_places(0), folder_.path() + "/train.jsonl:2");
  EXPECT_EQ(report.findings(0).message(), "it has an x");
}

TEST_F(QuickReportTest, ChecksPairsWherePreferenceIs) {
  const std::string pair = R"({"prompt":"q","chosen":"a","rejected":"b"})"
                           "\n";
  v1::JobConfig config = Config(pair + pair);
  config.mutable_preference();
  v1::DataReport report = QuickReport(config);
  EXPECT_EQ(report.findings_size(), 0);
  EXPECT_EQ(report.examples(), 2) << "a pair is one example";
  EXPECT_EQ(report.format(), "preference");
  config = Config(pair + R"({"prompt":"q","chosen":"a"})"
                         "\n");
  config.mutable_preference();
  report = QuickReport(config);
  EXPECT_EQ(Errors(report), "NOT_A_PAIR ");
  EXPECT_EQ(report.findings(0).first_places(0), folder_.path() + "/train.jsonl:2");
  config.mutable_data()->set_bad_rows(v1::DataConfig::BAD_ROWS_SKIP);
  EXPECT_EQ(Errors(QuickReport(config)), "");
}

// Whatever data.bad_rows is: the job and the file are of two kinds.
TEST_F(QuickReportTest, TellsWhenJobAndFileAreOfTwoKinds) {
  const std::string pair = R"({"prompt":"q","chosen":"a","rejected":"b"})"
                           "\n";
  const std::string chats[] = {Row("a", "b"), "{\"prompt\":\"q\",\"completion\":\"a\"}\n",
                               "{\"text\":\"t\"}\n", "{\"instruction\":\"i\",\"output\":\"o\"}\n",
                               "{\"conversations\":[{\"from\":\"human\",\"value\":\"q\"}]}\n"};
  for (const auto bad_rows : {v1::DataConfig::BAD_ROWS_FAIL, v1::DataConfig::BAD_ROWS_SKIP}) {
    for (const std::string& chat : chats) {
      for (const std::string& rows : {chat, pair + chat}) {
        v1::JobConfig config = Config(rows);
        config.mutable_data()->set_bad_rows(bad_rows);
        config.mutable_preference();
        const v1::DataReport report = QuickReport(config);
        EXPECT_EQ(Errors(report), "NOT_A_PAIR ") << rows;
        EXPECT_EQ(report.findings(0).message().find("data.bad_rows"), std::string::npos)
            << "which would not help";
      }
      for (const std::string& rows : {pair, chat + pair}) {
        v1::JobConfig config = Config(rows);
        config.mutable_data()->set_bad_rows(bad_rows);
        EXPECT_EQ(Errors(QuickReport(config)), "UNEXPECTED_PAIR ") << rows;
      }
    }
    v1::JobConfig config = Config(Row("a", "b"));
    config.mutable_data()->set_validation(folder_.Write("val.jsonl", pair));
    config.mutable_data()->set_bad_rows(bad_rows);
    EXPECT_EQ(Errors(QuickReport(config)), "UNEXPECTED_PAIR ");
  }
}

}  // namespace
}  // namespace trainerd::engine
