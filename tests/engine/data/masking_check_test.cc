// SPDX-License-Identifier: Apache-2.0
// Rows made by hand, right ones and one for each fault that a check exists for.
#include "engine/data/masking_check.h"

#include <algorithm>

#include "tests/engine/data/test_data.h"

namespace trainerd::engine {
namespace {

class MaskingCheckTest : public ::testing::Test {
 protected:
  MaskingCheckTest() : model_(WriteByteTokenizer(folder_, "")), config_(BaseConfig(model_, "")) {
    text_ = *OpenTextPipeline(config_);
    Add("question", "answer.", 1);
    Add("question", "another", 1);
  }

  // An example whose `answer` is trained.
  void Add(const std::string& question, const std::string& answer, int32_t spans) {
    TokenExample example{.index = static_cast<int64_t>(examples_.size())};
    for (const char c : question) example.ids.push_back(static_cast<uint8_t>(c));
    example.labels.assign(question.size(), kIgnoreIndex);
    for (const char c : answer) {
      example.ids.push_back(static_cast<uint8_t>(c));
      example.labels.push_back(static_cast<uint8_t>(c));
    }
    example.target_spans = spans;
    example.span_tokens = static_cast<int32_t>(answer.size());
    examples_.push_back(example);
    rows_.push_back({static_cast<uint32_t>(examples_.size()) - 1});
  }
  v1::MaskingReport Report() {
    data_.store = StoreOf(examples_);
    data_.train_sequences = RowsOf(rows_);
    return *CheckMasking(data_, config_, text_);
  }
  static std::string Failed(const v1::MaskingReport& report) {
    std::string names;
    for (const auto& check : report.checks()) {
      if (!check.passed()) names += check.name() + (check.error() ? "! " : " ");
    }
    return names;
  }

  const TempDir folder_;
  const std::string model_;
  v1::JobConfig config_;
  TextPipeline text_;
  std::vector<TokenExample> examples_;
  std::vector<std::vector<uint32_t>> rows_;
  PreparedData data_;
};

TEST_F(MaskingCheckTest, PassesRowsThatAreRight) {
  const v1::MaskingReport report = Report();
  ASSERT_EQ(report.checks_size(), 6);
  EXPECT_EQ(report.checks(5).name(), "content_form");
  EXPECT_EQ(report.checks(5).message(), "joined text");
  EXPECT_EQ(Failed(report), "");
  EXPECT_EQ(report.sampled_rows(), 2);
  EXPECT_DOUBLE_EQ(report.trained_fraction(), 14.0 / 30);
  EXPECT_EQ(report.first_batches_digest(), *FirstRowsDigest(data_, config_, 4));
  EXPECT_TRUE(MaskingStatus(report).ok());
}

TEST_F(MaskingCheckTest, ANeighbourInThePackDoesNotJoinTwoRuns) {
  rows_ = {{0, 1}};
  examples_[1].labels =
      examples_[1].ids;  // begins trained, right behind the first one's trained end
  examples_[1].span_tokens = 15;
  EXPECT_EQ(Failed(Report()), "");
}

TEST_F(MaskingCheckTest, FailsWhenRunsAndSpansDisagree) {
  examples_[1].target_spans = 2;
  const v1::MaskingReport report = Report();
  EXPECT_EQ(Failed(report), "transitions! ");
  const absl::Status status = MaskingStatus(report);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("example 1: 1 trained stretches, 2 recorded spans"),
            absl::string_view::npos);
}

TEST_F(MaskingCheckTest, FailsWhenSpansAreNotTrained) {
  std::fill(examples_[0].labels.begin() + 9, examples_[0].labels.begin() + 15, kIgnoreIndex);
  EXPECT_EQ(Failed(Report()), "coverage! ");
}

TEST_F(MaskingCheckTest, FailsWhenARowIsUntrained) {
  std::fill(examples_[0].labels.begin(), examples_[0].labels.end(), kIgnoreIndex);
  examples_[0].target_spans = 0;
  examples_[0].span_tokens = 0;
  EXPECT_EQ(Failed(Report()), "distribution! ");
}

TEST_F(MaskingCheckTest, FailsWhenAllIsTrainedUnlessThatWasAsked) {
  rows_ = {{0}, {1}};
  examples_[0].labels = examples_[0].ids;
  examples_[0].span_tokens = 15;
  EXPECT_EQ(Failed(Report()), "distribution! ");
  config_.mutable_data()->set_train_on(v1::DataConfig::TRAIN_ON_ALL);
  EXPECT_EQ(Failed(Report()), "");
}

TEST_F(MaskingCheckTest, TheMiddleOfALongAnswerIsTrainedFromEndToEndByRight) {
  v1::JobConfig config =
      BaseConfig(model_, folder_.Write("train.jsonl", Row("q", std::string(100, 'x'))));
  config.mutable_data()->set_max_length(30);
  config.mutable_data()->set_packing(v1::DataConfig::PACKING_BFD_SPLIT);
  const auto data = PrepareData(config, *OpenTextPipeline(config), nullptr, {});
  ASSERT_TRUE(data.ok()) << data.status();
  int64_t all_trained = 0;
  for (int64_t row = 0; row < data->train_sequences.size(); ++row) {
    const Microbatch batch = *MakeMicrobatch(*data->store, data->train_sequences, {row});
    all_trained += std::count(batch.labels.begin(), batch.labels.end(), kIgnoreIndex) == 0;
  }
  ASSERT_GT(all_trained, 0);
  EXPECT_EQ(Failed(*CheckMasking(*data, config, text_)), "");
}

TEST_F(MaskingCheckTest, OnlyWarnsOfAnUnusualRatio) {
  Add(std::string(500, 'q'), "a", 1);
  const v1::MaskingReport report = Report();
  EXPECT_EQ(Failed(report), "ratio ");
  EXPECT_TRUE(MaskingStatus(report).ok());
}

TEST_F(MaskingCheckTest, OnlyWarnsOfForeignTurnsInAnswers) {
  examples_[0].ids.push_back(kStart);
  examples_[0].labels.push_back(kStart);
  for (const char c : std::string("user\nhi")) {
    examples_[0].ids.push_back(c);
    examples_[0].labels.push_back(c);
  }
  examples_[0].span_tokens += 8;
  const v1::MaskingReport report = Report();
  EXPECT_EQ(Failed(report), "content ");
  EXPECT_TRUE(MaskingStatus(report).ok());
}

TEST_F(MaskingCheckTest, SamplesLargeSets) {
  for (int i = 0; i < 500; ++i) Add("question", "answer.", 1);
  EXPECT_EQ(Report().sampled_rows(), kMaskingSampleRows);
  EXPECT_EQ(Failed(Report()), "");
}

}  // namespace
}  // namespace trainerd::engine
