// SPDX-License-Identifier: Apache-2.0
// Through PrepareData: which examples stand in which rows. Tokens are bytes, counted by hand.
#include "engine/data/batches/sequence_plan.h"

#include <algorithm>
#include <set>

#include "tests/engine/data/prepare_fixture.h"

namespace trainerd::engine {
namespace {

using SequencePlanTest = PrepareFixture;

TEST_F(SequencePlanTest, SplitsTheValidationShareOffOnce) {
  v1::JobConfig config = Config(Numbered(100));
  config.mutable_data()->set_validation_fraction(0.1);
  const auto first = Prepare(config), second = Prepare(config);
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(first->validation.size(), 10u);
  EXPECT_EQ(first->train.size(), 90u);
  EXPECT_EQ(first->report.validation_examples(), 10);
  std::set<int64_t> all;
  // Every row is kept, so an example's number in the store is its index.
  const auto indices = [](const std::vector<uint32_t>& examples) { return examples; };
  EXPECT_EQ(indices(first->validation), indices(second->validation));
  for (const int64_t i : indices(first->validation)) all.insert(i);
  for (const int64_t i : indices(first->train)) all.insert(i);
  EXPECT_EQ(all.size(), 100u);
  config.mutable_train()->set_seed(43);
  EXPECT_NE(indices(Prepare(config)->validation), indices(first->validation));
}

TEST_F(SequencePlanTest, ReportsOverlapWithTheValidationFile) {
  v1::JobConfig config = Config(Row("a", "b") + Row("c", "d"));
  config.mutable_data()->set_validation(folder_.Write("val.jsonl", Row("e", "f") + Row("c", "d")));
  const auto data = Prepare(config);
  ASSERT_TRUE(data.ok());
  EXPECT_EQ(data->validation.size(), 2u);
  ASSERT_NE(Find(*data, "OVERLAP"), nullptr);
  EXPECT_EQ(Find(*data, "OVERLAP")->first_places(0), folder_.path() + "/val.jsonl:2");
}

TEST_F(SequencePlanTest, WeightsDecideHowOftenAFileIsSeen) {
  v1::JobConfig config = Config(Numbered(40));
  config.mutable_data()->mutable_train(0)->set_weight(0.25);
  config.mutable_data()->add_train()->set_path(
      folder_.Write("b.jsonl", Row("x", "y") + Row("z", "w")));
  config.mutable_data()->mutable_train(1)->set_weight(3);
  const auto data = Prepare(config);
  ASSERT_TRUE(data.ok());
  EXPECT_EQ(data->train.size(), 12u);
  std::vector<int> times(data->train.size(), 0);
  for (int64_t row = 0; row < data->train_sequences.size(); ++row) {
    for (const uint32_t example : data->train_sequences.examples(row)) {
      const auto found = std::find(data->train.begin(), data->train.end(), example);
      ASSERT_NE(found, data->train.end());
      ++times[static_cast<size_t>(found - data->train.begin())];
    }
  }
  for (size_t i = 0; i < times.size(); ++i) EXPECT_EQ(times[i], i < 10 ? 1 : 3);
  int64_t targets = 0;
  for (size_t i = 0; i < times.size(); ++i)
    targets += times[i] * TrainExample(*data, i).CountTargets();
  EXPECT_EQ(data->report.target_tokens(), targets);
}

TEST_F(SequencePlanTest, PacksEveryExampleOnceOrOneARow) {
  v1::JobConfig config = Config(Numbered(50));
  auto data = Prepare(config);
  ASSERT_TRUE(data.ok());
  EXPECT_EQ(data->train_sequences.num_documents(), 50);
  EXPECT_LT(data->train_sequences.size(), 50);
  EXPECT_GT(data->report.fill(), 0.8);
  EXPECT_EQ(data->report.rows(), data->train_sequences.size());
  config.mutable_data()->set_packing(v1::DataConfig::PACKING_NONE);
  data = Prepare(config);
  EXPECT_EQ(data->train_sequences.size(), 50);
  EXPECT_FALSE(data->report.has_fill());
  EXPECT_EQ(data->report.total_steps(), 13);
}

// The conversation has 24 + 100 tokens: "user\nqq" and marks take 22, the answer its 100 bytes and
// the end token, "\n" follows.
TEST_F(SequencePlanTest, BfdSplitContinuesLongConversationsInFurtherPieces) {
  v1::JobConfig config = Config(Row("qq", std::string(100, 'x')) + Row("a", "b"));
  config.mutable_data()->set_max_length(30);
  config.mutable_data()->set_packing(v1::DataConfig::PACKING_BFD_SPLIT);
  config.mutable_data()->set_shuffle(false);
  const auto data = Prepare(config);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(data->report.truncated(), 0);
  EXPECT_EQ(Find(*data, "TOO_LONG"), nullptr);
  const TokenExample whole = TrainExample(*data, 0);
  ASSERT_EQ(whole.ids.size(), 123u);
  std::vector<std::vector<int32_t>> ids(5), labels(5);
  int64_t targets = 0;
  for (int64_t row = 0; row < data->train_sequences.size(); ++row) {
    const Microbatch batch = *MakeMicrobatch(*data->store, data->train_sequences, {row});
    EXPECT_LE(batch.num_tokens(), 30);
    targets += batch.target_tokens;
    for (int64_t i = 0; i < batch.num_documents(); ++i) {
      const Piece piece = data->train_sequences.document(row, i);
      const auto begin = batch.cu_seqlens[static_cast<size_t>(i)];
      const auto end = batch.cu_seqlens[static_cast<size_t>(i) + 1];
      EXPECT_EQ(batch.positions[static_cast<size_t>(begin)], 0);
      if (piece.example != 0) continue;
      const size_t part = static_cast<size_t>(piece.begin / 30);
      EXPECT_TRUE(ids[part].empty()) << "each piece once";
      ids[part].assign(batch.ids.begin() + begin, batch.ids.begin() + end);
      labels[part].assign(batch.labels.begin() + begin, batch.labels.begin() + end);
    }
  }
  EXPECT_EQ(Join({ids[0], ids[1], ids[2], ids[3], ids[4]}), whole.ids);
  EXPECT_EQ(Join({labels[0], labels[1], labels[2], labels[3], labels[4]}), whole.labels);
  // 101 trained tokens, of which the first of each of four further pieces is no target.
  EXPECT_EQ(targets, whole.CountTargets() - 4 + TrainExample(*data, 1).CountTargets());
  EXPECT_EQ(data->report.target_tokens(), targets);
}

TEST_F(SequencePlanTest, PiecesWithoutATargetAreLeftOutAndCounted) {
  v1::JobConfig config = Config(Row(std::string(200, 'q'), "answer") + Row("a", "b"));
  config.mutable_data()->set_max_length(32);
  config.mutable_data()->set_packing(v1::DataConfig::PACKING_BFD_SPLIT);
  const auto data = Prepare(config);
  ASSERT_TRUE(data.ok()) << data.status();
  ASSERT_NE(Find(*data, "UNTRAINED_PIECE"), nullptr);
  EXPECT_EQ(Find(*data, "UNTRAINED_PIECE")->count(), 6);
  EXPECT_EQ(Find(*data, "UNTRAINED_PIECE")->first_places(0), folder_.path() + "/train.jsonl:1");
  for (int64_t row = 0; row < data->train_sequences.size(); ++row) {
    EXPECT_GT(MakeMicrobatch(*data->store, data->train_sequences, {row})->target_tokens, 0);
  }
}

}  // namespace
}  // namespace trainerd::engine
