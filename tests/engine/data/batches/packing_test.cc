// SPDX-License-Identifier: Apache-2.0
// Expectations: small cases packed by hand; large ones against a plain search for the best row
// (multiset of fills).
#include "engine/data/batches/packing.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <random>

#include "gtest/gtest.h"

namespace trainerd::engine {
namespace {

std::vector<std::vector<int64_t>> Pack(const std::vector<int32_t>& lengths, int64_t row_tokens) {
  const auto rows = PackBestFitDecreasing(lengths, row_tokens);
  EXPECT_TRUE(rows.ok()) << rows.status();
  std::vector<std::vector<int64_t>> documents;
  for (int64_t row = 0; row < rows->size(); ++row) {
    const auto row_documents = rows->examples(row);
    documents.emplace_back(row_documents.begin(), row_documents.end());
  }
  return documents;
}

std::vector<int32_t> RandomLengths(size_t count, int64_t row_tokens, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<int32_t> lengths(count);
  for (int32_t& length : lengths) {
    // Many short ones, some as long as a row, as data has it.
    const int64_t bound = random() % 10 == 0 ? row_tokens : std::max<int64_t>(1, row_tokens / 4);
    length = 1 + static_cast<int32_t>(random() % static_cast<uint64_t>(bound));
  }
  return lengths;
}

// Fill of each sequence by trying every open sequence: the definition, in O(n²).
std::vector<int64_t> FillsByDefinition(std::vector<int32_t> lengths, int64_t row_tokens) {
  std::sort(lengths.rbegin(), lengths.rend());
  std::vector<int64_t> fills;
  for (const int64_t length : lengths) {
    int64_t best = -1;
    for (size_t row = 0; row < fills.size(); ++row) {
      if (fills[row] + length > row_tokens) continue;
      if (best < 0 || fills[row] > fills[static_cast<size_t>(best)])
        best = static_cast<int64_t>(row);
    }
    if (best < 0) {
      fills.push_back(length);
    } else {
      fills[static_cast<size_t>(best)] += length;
    }
  }
  return fills;
}

TEST(PackingTest, PutsEachDocumentIntoTheFullestRowThatHasRoom) {
  // Longest first: 6 | 5 | 4 fits with 6 exactly | 3 to the 5 | 2 to the 8 | 2 opens no row: 10 - 8
  // = 2 is taken, so a new one.
  EXPECT_EQ(Pack({2, 5, 3, 6, 4, 2}, 10),
            (std::vector<std::vector<int64_t>>{{3, 4}, {1, 2, 0}, {5}}));
}

TEST(PackingTest, EqualLengthsKeepInputOrder) {
  EXPECT_EQ(Pack({4, 4, 4, 4}, 8), (std::vector<std::vector<int64_t>>{{0, 1}, {2, 3}}));
}

TEST(PackingTest, AmongRowsOfOneFillTheFirstToReachItIsTaken) {
  EXPECT_EQ(Pack({6, 6, 3, 2}, 10), (std::vector<std::vector<int64_t>>{{0, 2}, {1, 3}}));
}

TEST(PackingTest, EveryDocumentAppearsOnceAndRowsDoNotOverflow) {
  for (const int64_t row_tokens : {8, 63, 64, 65, 1024, 5000}) {
    const std::vector<int32_t> lengths = RandomLengths(100000, row_tokens, 7);
    std::vector<int> seen(lengths.size(), 0);
    for (const auto& row : Pack(lengths, row_tokens)) {
      int64_t fill = 0;
      EXPECT_FALSE(row.empty());
      for (const int64_t document : row) {
        ++seen[static_cast<size_t>(document)];
        fill += lengths[static_cast<size_t>(document)];
      }
      ASSERT_LE(fill, row_tokens);
    }
    EXPECT_EQ(std::count(seen.begin(), seen.end(), 1), static_cast<int64_t>(lengths.size()));
  }
}

TEST(PackingTest, FillsEqualThoseOfThePlainSearch) {
  for (uint32_t seed = 0; seed < 20; ++seed) {
    const int64_t row_tokens = 16 + seed * 37;
    const std::vector<int32_t> lengths = RandomLengths(1500, row_tokens, seed);
    std::vector<int64_t> fills;
    for (const auto& row : Pack(lengths, row_tokens)) {
      int64_t fill = 0;
      for (const int64_t document : row) fill += lengths[static_cast<size_t>(document)];
      fills.push_back(fill);
    }
    std::vector<int64_t> expected = FillsByDefinition(lengths, row_tokens);
    std::sort(fills.begin(), fills.end());
    std::sort(expected.begin(), expected.end());
    EXPECT_EQ(fills, expected) << "seed " << seed;
  }
}

TEST(PackingTest, FillsManyShortDocumentsNearlyCompletely) {
  const std::vector<int32_t> lengths = RandomLengths(100000, 2048, 3);
  const int64_t total = std::accumulate(lengths.begin(), lengths.end(), int64_t{0});
  const auto rows = Pack(lengths, 2048);
  EXPECT_GT(static_cast<double>(total) / (2048.0 * static_cast<double>(rows.size())), 0.999);
}

TEST(PackingTest, IsDeterministic) {
  const std::vector<int32_t> lengths = RandomLengths(50000, 512, 11);
  EXPECT_EQ(Pack(lengths, 512), Pack(lengths, 512));
}

TEST(PackingTest, RejectsDocumentsThatCannotStandInARow) {
  const std::vector<int32_t> too_long = {3, 9}, empty = {3, 0};
  const auto long_status = PackBestFitDecreasing(too_long, 8).status();
  EXPECT_EQ(long_status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(long_status.message(), "document 1 has 9 tokens; a sequence holds 1 to 8");
  EXPECT_FALSE(PackBestFitDecreasing(empty, 8).ok());
  EXPECT_FALSE(PackBestFitDecreasing({}, 0).ok());
  EXPECT_TRUE(PackBestFitDecreasing({}, 8)->empty());
}

TEST(PackingTest, OneDocumentRowsKeepOrder) {
  const PackedSequences rows = OneDocumentRows(3);
  ASSERT_EQ(rows.size(), 3);
  EXPECT_EQ(rows.num_documents(2), 1);
  EXPECT_EQ(rows.document(2, 0).example, 2);
  EXPECT_TRUE(OneDocumentRows(0).empty());
}

TEST(PackedSequencesTest, PairsReplaceDocuments) {
  // Pairs of 6, 5, 4 and 3 tokens in rows of 9, named by their first example.
  auto rows = PackBestFitDecreasing({6, 5, 4, 3}, 9);
  ASSERT_TRUE(rows.ok());
  EXPECT_FALSE(rows->is_pairs());
  rows->RenameAsPairs({0, 2, 6, 10});
  EXPECT_TRUE(rows->is_pairs());
  ASSERT_EQ(rows->size(), 2);
  EXPECT_EQ(rows->num_documents(), 8);
  EXPECT_EQ(std::vector<uint32_t>(rows->examples(0).begin(), rows->examples(0).end()),
            (std::vector<uint32_t>{0, 1, 10, 11}));
  EXPECT_EQ(std::vector<uint32_t>(rows->examples(1).begin(), rows->examples(1).end()),
            (std::vector<uint32_t>{2, 3, 6, 7}));
  EXPECT_EQ(rows->document(1, 3).example, 7);
  PackedSequences single = OneDocumentRows(2);
  single.RenameAsPairs({4, 6});
  EXPECT_EQ(single.num_documents(1), 2);
  EXPECT_EQ(single.document(1, 1).example, 7);
}

}  // namespace
}  // namespace trainerd::engine
