// SPDX-License-Identifier: Apache-2.0
// Expectations: counted by hand from the definition of a step (batch_size x gradient_accumulation
// rows; the last of an epoch smaller).
#include "engine/data/batches/data_loader.h"

#include <algorithm>
#include <numeric>

#include "gtest/gtest.h"
#include "tests/engine/data/test_data.h"

namespace trainerd::engine {
namespace {

// `count` examples of two tokens, of which the second is trained; one a row.
struct Rows {
  explicit Rows(int64_t count) : rows(OneDocumentRows(count)) {
    for (int64_t i = 0; i < count; ++i) {
      const int32_t id = static_cast<int32_t>(i);
      examples.push_back({.index = i, .ids = {id, id + 1}, .labels = {kIgnoreIndex, id + 1}});
    }
    store = StoreOf(examples);
  }
  std::vector<TokenExample> examples;
  PackedSequences rows;
  std::unique_ptr<TokenStore> store;
};

std::vector<int64_t> ExamplesOfStep(const DataLoader& loader, int64_t step) {
  std::vector<int64_t> examples;
  const std::vector<Microbatch> batches = *loader.Step(step);
  for (const Microbatch& batch : batches) {
    examples.insert(examples.end(), batch.examples.begin(), batch.examples.end());
  }
  return examples;
}

TEST(DataLoaderTest, EveryExampleIsTrainedOnceAnEpochInADifferentOrder) {
  const Rows data(103);
  const DataLoader loader(*data.store, data.rows,
                          {.batch_size = 4, .gradient_accumulation = 2, .epochs = 3});
  EXPECT_EQ(loader.steps_per_epoch(), 13);
  EXPECT_EQ(loader.total_steps(), 39);
  std::vector<std::vector<int64_t>> epochs(3);
  for (int64_t step = 1; step <= 39; ++step) {
    for (const int64_t example : ExamplesOfStep(loader, step)) {
      epochs[static_cast<size_t>((step - 1) / 13)].push_back(example);
    }
  }
  std::vector<int64_t> all(103);
  std::iota(all.begin(), all.end(), 0);
  for (std::vector<int64_t> epoch : epochs) {
    std::sort(epoch.begin(), epoch.end());
    EXPECT_EQ(epoch, all);
  }
  EXPECT_NE(epochs[0], epochs[1]);
  EXPECT_NE(epochs[1], epochs[2]);
}

TEST(DataLoaderTest, TheLastSmallerStepOfAnEpochIsTrained) {
  const Rows data(11);
  const DataLoader loader(*data.store, data.rows,
                          {.batch_size = 2, .gradient_accumulation = 2, .epochs = 2});
  EXPECT_EQ(loader.steps_per_epoch(), 3);
  const StepPlace last = loader.Place(3);
  EXPECT_EQ(last.epoch, 0);
  EXPECT_EQ(last.first_row, 8);
  EXPECT_EQ(last.num_rows, 3);
  EXPECT_DOUBLE_EQ(last.epoch_after, 1.0);
  const std::vector<Microbatch> batches = *loader.Step(3);
  ASSERT_EQ(batches.size(), 2u);
  EXPECT_EQ(batches[0].num_documents(), 2);
  EXPECT_EQ(batches[1].num_documents(), 1);
  EXPECT_EQ(loader.Place(4).epoch, 1);
  EXPECT_EQ(loader.Place(4).first_row, 0);
  EXPECT_DOUBLE_EQ(loader.Place(4).epoch_after, 1.0 + 4.0 / 11);
}

TEST(DataLoaderTest, AStepDependsOnItsNumberAlone) {
  const Rows data(50);
  const DataLoaderOptions options{.batch_size = 3, .gradient_accumulation = 2, .epochs = 4};
  const DataLoader in_order(*data.store, data.rows, options);
  std::vector<std::vector<int64_t>> expected;
  for (int64_t step = 1; step <= in_order.total_steps(); ++step) {
    expected.push_back(ExamplesOfStep(in_order, step));
  }
  // Backwards, and by a loader that begins in the middle, as after a resume.
  for (int64_t step = in_order.total_steps(); step >= 1; --step) {
    const DataLoader fresh(*data.store, data.rows, options);
    EXPECT_EQ(ExamplesOfStep(in_order, step), expected[static_cast<size_t>(step - 1)]);
    EXPECT_EQ(ExamplesOfStep(fresh, step), expected[static_cast<size_t>(step - 1)]);
  }
}

TEST(DataLoaderTest, SeedAndShuffleDecideTheOrder) {
  const Rows data(40);
  const auto order = [&](int64_t seed, bool shuffle, int64_t epoch) {
    return DataLoader(*data.store, data.rows, {.seed = seed, .shuffle = shuffle}).EpochOrder(epoch);
  };
  EXPECT_EQ(order(1, true, 0), order(1, true, 0));
  EXPECT_NE(order(1, true, 0), order(2, true, 0));
  EXPECT_NE(order(1, true, 0), order(1, true, 1));
  std::vector<int64_t> identity(40);
  std::iota(identity.begin(), identity.end(), 0);
  EXPECT_EQ(order(1, false, 5), identity);
}

TEST(DataLoaderTest, OrdersAreUniform) {
  // Position of row 0 over many seeds: each of 8 places within five standard deviations of its
  // share.
  const Rows data(8);
  std::vector<int> at(8, 0);
  constexpr int kSeeds = 8000;
  for (int seed = 0; seed < kSeeds; ++seed) {
    const auto order = DataLoader(*data.store, data.rows, {.seed = seed}).EpochOrder(0);
    ++at[static_cast<size_t>(std::find(order.begin(), order.end(), 0) - order.begin())];
  }
  for (const int count : at) EXPECT_NEAR(count, kSeeds / 8, 5 * 30);
}

TEST(DataLoaderTest, TotalStepsFollowEpochsOrMaxSteps) {
  const Rows data(100);
  const auto total = [&](double epochs, int64_t max_steps) {
    return DataLoader(*data.store, data.rows, {.epochs = epochs, .max_steps = max_steps})
        .total_steps();
  };
  EXPECT_EQ(total(1, 0), 100);
  EXPECT_EQ(total(0.07, 0), 7) << "0.07 x 100 is 7.000000000000001 in binary";
  EXPECT_EQ(total(0.071, 0), 8);
  EXPECT_EQ(total(0.001, 0), 1);
  EXPECT_EQ(total(2.5, 0), 250);
  EXPECT_EQ(total(1, 7), 7);
  const Rows none(0);
  EXPECT_EQ(DataLoader(*none.store, none.rows, {.max_steps = 5}).total_steps(), 0);
}

TEST(DataLoaderTest, MicrobatchKeepsDocumentsApart) {
  const std::vector<TokenExample> examples = {
      {.index = 5, .ids = {1, 2, 3}, .labels = {kIgnoreIndex, 2, 3}},
      {.index = 9, .ids = {4, 5}, .labels = {4, 5}},
      {.index = 7, .ids = {6}, .labels = {6}}};
  const Microbatch batch =
      *MakeMicrobatch(*StoreOf(examples), RowsOf({{1, 0}, {2}}), {int64_t{0}, int64_t{1}});
  EXPECT_EQ(batch.ids, (std::vector<int32_t>{4, 5, 1, 2, 3, 6}));
  EXPECT_EQ(batch.labels, (std::vector<int32_t>{4, 5, -100, 2, 3, 6}));
  // The last token of a document predicts nothing, least of all the next document's first one.
  EXPECT_EQ(batch.targets, (std::vector<int32_t>{5, -100, 2, 3, -100, -100}));
  EXPECT_EQ(batch.positions, (std::vector<int32_t>{0, 1, 0, 1, 2, 0}));
  EXPECT_EQ(batch.cu_seqlens, (std::vector<int32_t>{0, 2, 5, 6}));
  EXPECT_EQ(batch.examples, (std::vector<int64_t>{9, 5, 7}));
  EXPECT_EQ(batch.target_tokens, 3);
}

// Weights move with the labels, and a document without weights beside one with weights has 1.
TEST(DataLoaderTest, WeightsBelongToTheNextToken) {
  const auto store =
      StoreOf({{.index = 0, .ids = {1, 2, 3}, .labels = {kIgnoreIndex, 2, 3}},
               {.index = 1, .ids = {4, 5, 6}, .labels = {4, 5, 6}, .weights = {9, 0.5, 2}},
               {.index = 2, .ids = {7, 8}, .labels = {kIgnoreIndex, 8}}});
  const PackedSequences rows = OneDocumentRows(3);
  const Microbatch all = *MakeMicrobatch(*store, rows, {0, 1, 2});
  EXPECT_EQ(all.targets,
            (std::vector<int32_t>{2, 3, kIgnoreIndex, 5, 6, kIgnoreIndex, 8, kIgnoreIndex}));
  EXPECT_EQ(all.weights, (std::vector<float>{1, 1, 1, 0.5, 2, 1, 1, 1}));
  EXPECT_TRUE(MakeMicrobatch(*store, rows, {0, 2})->weights.empty());
  // A piece of a split conversation: its first token is no target.
  PackedSequences pieces = OneDocumentRows(1);
  pieces.Rename({1}, {1}, /*piece_tokens=*/1);
  EXPECT_EQ(MakeMicrobatch(*store, pieces, {0})->weights, (std::vector<float>{1}));
}

TEST(DataLoaderTest, DigestCoversWeights) {
  const auto digest = [](const Microbatch& batch) {
    Xxh3Stream hash;
    HashTokens(batch, &hash);
    return hash.Digest();
  };
  Microbatch batch{.ids = {1, 2}, .labels = {kIgnoreIndex, 2}};
  Xxh3Stream by_hand;
  by_hand.Update(batch.ids.data(), 8);
  by_hand.Update(batch.labels.data(), 8);
  const std::string plain = digest(batch);
  EXPECT_EQ(plain, by_hand.Digest());
  batch.weights = {0.5, 1};
  EXPECT_NE(digest(batch), plain);
}

}  // namespace
}  // namespace trainerd::engine
