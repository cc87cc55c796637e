// SPDX-License-Identifier: Apache-2.0
#include "engine/data/quick_report.h"

#include "tests/engine/data/test_data.h"

namespace trainerd::engine {
namespace {

class QuickReportTest : public ::testing::Test {
 protected:
  QuickReportTest() {
    folder_.Write("model/config.json", "{}");
    folder_.Write("model/tokenizer.json", "not read by the quick report");
  }
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
  const TempFolder folder_;
};

TEST_F(QuickReportTest, CountsSmallFilesExactly) {
  const v1::DataReport report = QuickReport(Config(Row("a", "b") + Row("c", "d")));
  EXPECT_TRUE(report.quick());
  EXPECT_EQ(report.examples(), 2);
  EXPECT_EQ(report.findings_size(), 0);
  EXPECT_GT(report.tokens().p50(), 1);
}

TEST_F(QuickReportTest, NamesBadRowsByLine) {
  v1::JobConfig config = Config(Row("a", "b") + "nope\n" +
                                R"({"messages":[{"role":"user","content":"x"}]})"
                                "\n");
  v1::DataReport report = QuickReport(config);
  EXPECT_EQ(Errors(report), "BAD_JSON ");
  EXPECT_EQ(report.findings(0).first_places(0), folder_.path() + "/train.jsonl:2:2");
  EXPECT_EQ(report.findings(1).code(), "NO_ASSISTANT");
  config.mutable_data()->set_bad_rows("skip");
  EXPECT_EQ(Errors(QuickReport(config)), "");
}

TEST_F(QuickReportTest, EstimatesAndLooksAtTheEndOfALargeFile) {
  std::string contents;
  const std::string row = Row(std::string(400, 'q'), std::string(550, 'a'));
  while (contents.size() < 3 * static_cast<size_t>(kQuickHeadBytes)) contents += row;
  const double rows = static_cast<double>(contents.size() / row.size());
  v1::DataReport report = QuickReport(Config(contents));
  EXPECT_EQ(Errors(report), "");
  EXPECT_NEAR(static_cast<double>(report.examples()), rows, rows * 0.01);
  report = QuickReport(Config(contents + row.substr(0, 300)));
  EXPECT_EQ(Errors(report), "BAD_JSON ");
  EXPECT_NE(report.findings(0).message().find("it was cut off"), std::string::npos);
}

TEST_F(QuickReportTest, KnowsTheFormsOfTheFiles) {
  v1::JobConfig config = Config(R"({"instruction":"a","output":"b"})"
                                "\n");
  EXPECT_EQ(QuickReport(config).format(), "alpaca");
  EXPECT_EQ(Errors(QuickReport(config)), "");
}

TEST_F(QuickReportTest, SeesWhatIsMissing) {
  v1::JobConfig config = Config(Row("a", "b"));
  config.mutable_model()->set_path(folder_.path() + "/none");
  config.mutable_data()->set_chat_template(folder_.path() + "/none.jinja");
  config.mutable_data()->set_validation(folder_.path() + "/none.jsonl");
  EXPECT_EQ(Errors(QuickReport(config)), "MODEL_FOLDER TEMPLATE_FILE BAD_FILE ");
}

}  // namespace
}  // namespace trainerd::engine
