// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/job/preview_text.h"

#include <gtest/gtest.h>

namespace trainerd {
namespace {

TEST(PreviewTextTest, SplitsWhereTrainingBeginsAndEnds) {
  const auto segments = SplitByTraining({.ids = {1, 2, 3, 4}, .labels = {-100, 2, 3, -100}});
  ASSERT_EQ(segments.size(), 3u);
  EXPECT_FALSE(segments[0].trained);
  EXPECT_TRUE(segments[1].trained);
  EXPECT_EQ(segments[1].begin, 1u);
  EXPECT_EQ(segments[1].end, 3u);
  EXPECT_EQ(segments[2].end, 4u);
  EXPECT_TRUE(SplitByTraining({}).empty());
}

TEST(PreviewTextTest, CountsTrainedTokens) {
  TrainingCounts counts = CountTraining({.ids = {5, 6, 7, 8}, .labels = {-100, 6, -100, -100}});
  EXPECT_EQ(CountsText(counts), "4 tokens, 1 trained (25 %)");
  counts.Add({.ids = std::vector<int64_t>(1200, 1), .labels = std::vector<int64_t>(1200, 1)});
  EXPECT_EQ(CountsText(counts), "1,204 tokens, 1,201 trained (99 %)");
  EXPECT_EQ(CountsText(TrainingCounts{}), "0 tokens, 0 trained (0 %)");
}

TEST(PreviewTextTest, GivesACharacterToItsFirstToken) {
  // "é" is spelled by the second and third token; only the third is trained.
  const PreviewItem item{.example = 3,
                         .row = 1,
                         .left_out = "too\x1blong",
                         .ids = {5, 6, 7, 8},
                         .labels = {-100, -100, 7, 8},
                         .texts = {{.begin = 0, .end = 1, .text = "a\x1b["},
                                   {.begin = 1, .end = 3, .text = "é"},
                                   {.begin = 3, .end = 4, .text = "z\n"}}};
  EXPECT_EQ(RenderPreview(item, /*color=*/false),
            "--- row 1, example 3 (skipped: too?long): 4 tokens, 2 trained (50 %)\n"
            "a?[é[[z\n]]\n");
  EXPECT_EQ(RenderPreview(item, /*color=*/true),
            "\x1b[1m--- row 1, example 3 (skipped: too?long): 4 tokens, 2 trained (50 %)\x1b[0m\n"
            "a?[é\x1b[32mz\n\x1b[0m\n");
}

TEST(PreviewTextTest, MarksWhereMaxLengthCuts) {
  PreviewItem item{.ids = {5, 6, 7, 8},
                   .labels = {-100, -100, 7, 8},
                   .texts = {{.begin = 0, .end = 1, .text = "a"},
                             {.begin = 1, .end = 2, .text = "b"},
                             {.begin = 2, .end = 3, .text = "c"},
                             {.begin = 3, .end = 4, .text = "d"}},
                   .cuts = {1, 3},
                   .cut_tokens = 1200};
  EXPECT_EQ(RenderPreview(item, /*color=*/false),
            "--- example 0: 4 tokens, 2 trained (50 %)\n"
            "a[data.max_length cuts here]b[[c]][data.max_length cuts here][[d]]"
            "[data.max_length cuts here: 1,200 more tokens]\n");
  EXPECT_EQ(CutText(1), "data.max_length cuts here: 1 more token");
}

TEST(PreviewTextTest, MarksWeightsOtherThanOne) {
  const PreviewItem item{.ids = {5, 6, 7, 8},
                         .labels = {-100, 6, 7, 8},
                         .weights = {1, 1, 0.5, 2},
                         .texts = {{.begin = 0, .end = 1, .text = "a"},
                                   {.begin = 1, .end = 2, .text = "b"},
                                   {.begin = 2, .end = 3, .text = "c"},
                                   {.begin = 3, .end = 4, .text = "d"}}};
  EXPECT_EQ(RenderPreview(item, /*color=*/false),
            "--- example 0: 4 tokens, 3 trained (75 %)\n"
            "a[[b]][weight 0.5][[c]][weight 2][[d]]\n");
  EXPECT_EQ(WeightText(0.1f), "weight 0.1");
}

}  // namespace
}  // namespace trainerd
