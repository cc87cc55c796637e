// SPDX-License-Identifier: Apache-2.0
// Expectations: overlap of half-open byte ranges, worked out by hand.
#include "engine/data/examples/labels.h"

#include <random>

#include "gtest/gtest.h"

namespace trainerd::engine {
namespace {

// Tokens 0, 1, 2, … over these byte ranges.
Encoding Tokens(const std::vector<std::pair<uint32_t, uint32_t>>& ranges) {
  Encoding encoding;
  for (const auto& [begin, end] : ranges) {
    encoding.ids.push_back(static_cast<int32_t>(encoding.ids.size()));
    encoding.begin.push_back(begin);
    encoding.end.push_back(end);
  }
  return encoding;
}

TokenExample Label(const Encoding& encoding, const std::vector<TextSpan>& spans,
                   int64_t max_tokens = 1000) {
  TokenExample example;
  LabelTokens(encoding, spans, max_tokens, &example);
  return example;
}

constexpr int32_t kNo = kIgnoreIndex;

TEST(LabelsTest, ATokenThatOverlapsASpanIsATarget) {
  const Encoding encoding = Tokens({{0, 2}, {2, 5}, {5, 6}, {6, 9}, {9, 10}});
  const TokenExample example = Label(encoding, {{4, 6}, {8, 9}});
  EXPECT_EQ(example.ids, (std::vector<int32_t>{0, 1, 2, 3, 4}));
  EXPECT_EQ(example.labels, (std::vector<int32_t>{kNo, 1, 2, 3, kNo}));
  EXPECT_EQ(example.target_spans, 2);
  EXPECT_EQ(example.span_tokens, 3);
  EXPECT_EQ(example.CountTargets(), 3);
}

TEST(LabelsTest, BordersThatTouchDoNotOverlap) {
  const TokenExample example = Label(Tokens({{0, 2}, {2, 4}, {4, 6}}), {{2, 4}});
  EXPECT_EQ(example.labels, (std::vector<int32_t>{kNo, 1, kNo}));
}

TEST(LabelsTest, TokensOfOneCharacterShareItsBytes) {
  // A character of four bytes in three tokens, each with the whole character's range.
  const TokenExample example = Label(Tokens({{0, 1}, {1, 5}, {1, 5}, {1, 5}, {5, 6}}), {{1, 5}});
  EXPECT_EQ(example.labels, (std::vector<int32_t>{kNo, 1, 2, 3, kNo}));
  EXPECT_EQ(example.span_tokens, 3);
}

TEST(LabelsTest, TokensWithoutBytesAreNeverTargets) {
  const TokenExample example = Label(Tokens({{0, 0}, {0, 3}, {3, 3}}), {{0, 3}});
  EXPECT_EQ(example.labels, (std::vector<int32_t>{kNo, 1, kNo}));
}

TEST(LabelsTest, SpansThatTouchCountAsOneAndEmptyOnesAsNone) {
  const TokenExample example = Label(Tokens({{0, 1}, {1, 2}, {2, 3}}), {{0, 1}, {1, 2}, {2, 2}});
  EXPECT_EQ(example.target_spans, 1);
  EXPECT_EQ(example.span_tokens, 2);
}

TEST(LabelsTest, TruncationCutsIdsLabelsAndCounts) {
  const TokenExample example =
      Label(Tokens({{0, 1}, {1, 2}, {2, 3}, {3, 4}}), {{1, 2}, {3, 4}}, /*max_tokens=*/3);
  EXPECT_EQ(example.ids, (std::vector<int32_t>{0, 1, 2}));
  EXPECT_EQ(example.labels, (std::vector<int32_t>{kNo, 1, kNo}));
  EXPECT_EQ(example.target_spans, 1);
  EXPECT_EQ(example.span_tokens, 1);
}

TEST(LabelsTest, TheFirstTokenIsNobodysTarget) {
  EXPECT_EQ(Label(Tokens({{0, 1}}), {{0, 1}}).CountTargets(), 0);
  EXPECT_EQ(Label(Tokens({{0, 1}, {1, 2}}), {{0, 2}}).CountTargets(), 1);
}

TEST(LabelsTest, BothWaysOfCountingAgreeOnRandomSpans) {
  std::mt19937 random(5);
  for (int round = 0; round < 2000; ++round) {
    std::vector<std::pair<uint32_t, uint32_t>> ranges;
    uint32_t at = 0;
    for (int i = 0; i < 40; ++i) {
      const uint32_t length = 1 + random() % 6;
      for (uint32_t copies = 1 + (random() % 8 == 0); copies > 0; --copies) {
        ranges.emplace_back(at, at + length);
      }
      at += length;
    }
    std::vector<TextSpan> spans;
    for (uint32_t place = random() % 9; place < at;) {
      const uint32_t end = std::min<uint32_t>(at, place + 1 + random() % 15);
      spans.push_back({place, end});
      place = end + random() % 12;
    }
    const int64_t limit = 1 + static_cast<int64_t>(random() % ranges.size());
    const TokenExample example = Label(Tokens(ranges), spans, limit);
    int32_t labelled = 0;
    for (size_t i = 0; i < example.ids.size(); ++i) {
      bool overlaps = false;
      for (const TextSpan& span : spans) {
        overlaps |= ranges[i].first < span.end && span.begin < ranges[i].second;
      }
      ASSERT_EQ(example.labels[i] != kNo, overlaps);
      labelled += overlaps;
    }
    ASSERT_EQ(example.span_tokens, labelled);
  }
}

std::vector<float> Weigh(const Encoding& encoding, const std::vector<TextSpan>& spans,
                         const std::vector<WeightedSpan>& weights, int64_t max_tokens = 1000) {
  TokenExample example = Label(encoding, spans, max_tokens);
  WeighTokens(encoding, spans, weights, &example);
  return example.weights;
}

TEST(WeighTokensTest, TargetHasTheWeightOfItsFirstByteInASpan) {
  const Encoding encoding = Tokens({{0, 2}, {2, 5}, {5, 6}, {6, 9}, {9, 10}, {10, 12}});
  const std::vector<TextSpan> spans = {{4, 7}, {8, 12}};
  // Token 1 begins before the span and has the weight of byte 4; token 3 that of byte 6; token 4
  // none.
  EXPECT_EQ(Weigh(encoding, spans, {{0, 4, 9.0f}, {4, 6, 2.0f}, {6, 9, 0.5f}, {11, 12, 7.0f}}),
            (std::vector<float>{1, 2, 2, 0.5, 1, 1}));
  EXPECT_EQ(Weigh(encoding, spans, {{9, 12, 3.0f}}), (std::vector<float>{1, 1, 1, 1, 3, 3}));
}

TEST(WeighTokensTest, NoWeightsWhereNoTargetHasOne) {
  const Encoding encoding = Tokens({{0, 2}, {2, 5}, {5, 6}});
  EXPECT_TRUE(Weigh(encoding, {{2, 6}}, {}).empty());
  EXPECT_TRUE(Weigh(encoding, {{2, 6}}, {{0, 2, 4.0f}}).empty()) << "of a message that is read";
  EXPECT_TRUE(Weigh(encoding, {{2, 6}}, {{5, 6, 4.0f}}, /*max_tokens=*/2).empty()) << "cut off";
}

}  // namespace
}  // namespace trainerd::engine
