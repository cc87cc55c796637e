// SPDX-License-Identifier: Apache-2.0
// Expectations follow from the documented lines of `trainerd-inspect preview`.
#include "client/preview/preview_items.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace trainerd::client {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<nlohmann::json> Lines(const std::string& text) {
  const auto rows = ParseJsonLines(text);
  EXPECT_TRUE(rows.ok()) << rows.status();
  return rows.value_or(std::vector<nlohmann::json>{});
}

TEST(PreviewItemsTest, ReadsExamples) {
  const auto items = ReadExamples(Lines(
      "{\"index\":3,\"text\":\"x\",\"ids\":[1,2],\"labels\":[-100,2],\"tokens\":[\"é\",null]}\n"
      "{\"index\":4,\"ids\":[],\"labels\":[],\"tokens\":[],\"left_out\":\"bad row\"}\n"));
  ASSERT_TRUE(items.ok()) << items.status();
  ASSERT_EQ(items->size(), 2u);
  EXPECT_EQ(ItemTitle((*items)[0]), "example 3");
  EXPECT_THAT((*items)[0].ids, ElementsAre(1, 2));
  EXPECT_THAT((*items)[0].labels, ElementsAre(-100, 2));
  EXPECT_EQ((*items)[0].left_out, "");
  ASSERT_EQ((*items)[0].texts.size(), 1u);
  EXPECT_EQ((*items)[0].texts[0].text, "é");
  EXPECT_EQ((*items)[0].texts[0].end, 2u);
  EXPECT_EQ((*items)[1].left_out, "bad row");
}

TEST(PreviewItemsTest, SplitsAPackedSequenceIntoConversations) {
  const auto items = ReadPackedRows(
      Lines("{\"row\":2,\"index\":[9,0],\"cu_seqlens\":[0,1,3],\"ids\":[5,6,7],\"labels\":[-100,6,"
            "-100],\"tokens\":[\"a\",\"é\",null],\"special\":[0]}"));
  ASSERT_TRUE(items.ok()) << items.status();
  ASSERT_EQ(items->size(), 2u);
  EXPECT_EQ(ItemTitle((*items)[0]), "row 2, example 9");
  EXPECT_THAT((*items)[0].ids, ElementsAre(5));
  EXPECT_THAT((*items)[1].ids, ElementsAre(6, 7));
  EXPECT_THAT((*items)[1].labels, ElementsAre(6, -100));
  EXPECT_TRUE((*items)[0].texts.at(0).special);
  ASSERT_EQ((*items)[1].texts.size(), 1u);
  EXPECT_EQ((*items)[1].texts[0].end, 2u);
  EXPECT_FALSE((*items)[1].texts[0].special);
}

TEST(PreviewItemsTest, ReadsTheTwoAnswersOfAPair) {
  const auto items = ReadExamples(
      Lines("{\"index\":3,\"ids\":[1,2],\"labels\":[-100,2],\"tokens\":[\"p\",\"a\"],"
            "\"left_out\":\"too long\",\"rejected\":{\"ids\":[1,3],\"labels\":[-100,3],"
            "\"tokens\":[\"p\",\"b\"],\"cut_tokens\":4}}"));
  ASSERT_TRUE(items.ok()) << items.status();
  ASSERT_EQ(items->size(), 2u);
  EXPECT_EQ(ItemTitle((*items)[0]), "example 3, chosen");
  EXPECT_EQ(ItemTitle((*items)[1]), "example 3, rejected");
  EXPECT_EQ((*items)[0].texts[1].text, "a");
  EXPECT_EQ((*items)[1].texts[1].text, "b");
  EXPECT_EQ((*items)[0].cut_tokens, 0);
  EXPECT_EQ((*items)[1].cut_tokens, 4);
  EXPECT_EQ((*items)[1].left_out, "too long");
  EXPECT_FALSE(ReadExamples(Lines("{\"index\":3,\"ids\":[],\"labels\":[],\"tokens\":[],"
                                  "\"rejected\":{\"ids\":[1],\"labels\":[]}}"))
                   .ok());
  const auto packed = ReadPackedRows(
      Lines("{\"row\":2,\"index\":[9,9],\"pairs\":true,\"cu_seqlens\":[0,1,2],\"ids\":[5,6],"
            "\"labels\":[5,6],\"tokens\":[\"a\",\"b\"]}"));
  ASSERT_TRUE(packed.ok()) << packed.status();
  EXPECT_EQ(ItemTitle((*packed)[0]), "row 2, example 9, chosen");
  EXPECT_EQ(ItemTitle((*packed)[1]), "row 2, example 9, rejected");
}

TEST(PreviewItemsTest, ReadsCuts) {
  const auto examples = ReadExamples(
      Lines("{\"index\":0,\"ids\":[1,2],\"labels\":[1,2],\"tokens\":[\"a\",\"b\"],\"cuts\":[1],"
            "\"cut_tokens\":7}"));
  ASSERT_TRUE(examples.ok()) << examples.status();
  EXPECT_THAT((*examples)[0].cuts, ElementsAre(1));
  EXPECT_EQ((*examples)[0].cut_tokens, 7);
  const char* row =
      "{\"row\":5,\"index\":[0,1],\"cu_seqlens\":[0,1,2],\"ids\":[1,2],\"labels\":[1,2],"
      "\"tokens\":[\"a\",\"b\"],\"cut_tokens\":";
  const auto items = ReadPackedRows(Lines(row + std::string("[0,3]}")));
  ASSERT_TRUE(items.ok()) << items.status();
  EXPECT_EQ((*items)[0].cut_tokens, 0);
  EXPECT_EQ((*items)[1].cut_tokens, 3);
  EXPECT_THAT(std::string(ReadPackedRows(Lines(row + std::string("[3]}"))).status().message()),
              HasSubstr("packed row 5 with lists that do not fit"));
}

TEST(PreviewItemsTest, ReadsWeights) {
  const char* example =
      "{\"index\":0,\"ids\":[1,2],\"labels\":[1,2],\"tokens\":[\"a\",\"b\"],\"weights\":";
  const auto examples = ReadExamples(Lines(example + std::string("[1,0.5]}")));
  ASSERT_TRUE(examples.ok()) << examples.status();
  EXPECT_THAT((*examples)[0].weights, ElementsAre(1, 0.5));
  for (const char* bad : {"[1]}", "[1,\"2\"]}", "0.5}"}) {
    EXPECT_THAT(std::string(ReadExamples(Lines(example + std::string(bad))).status().message()),
                HasSubstr("without one weight per token"));
  }
  const auto items = ReadPackedRows(
      Lines("{\"row\":5,\"index\":[0,1],\"cu_seqlens\":[0,1,3],\"ids\":[1,2,3],\"labels\":[1,2,3],"
            "\"tokens\":[\"a\",\"b\",\"c\"],\"weights\":[1,2,0.25]}"));
  ASSERT_TRUE(items.ok()) << items.status();
  EXPECT_THAT((*items)[0].weights, ElementsAre(1));
  EXPECT_THAT((*items)[1].weights, ElementsAre(2, 0.25));
}

TEST(PreviewItemsTest, NamesWhatDoesNotFit) {
  const std::pair<const char*, const char*> examples[] = {
      {"{\"ids\":[],\"labels\":[]}", "without a whole number \"index\""},
      {"{\"index\":0,\"labels\":[]}", "without a list \"ids\""},
      {"{\"index\":0,\"ids\":[1.5],\"labels\":[1]}", "other than whole numbers in \"ids\""},
      {"{\"index\":7,\"ids\":[1,2],\"labels\":[1]}", "example 7 with lists that do not fit"},
      {"{\"index\":0,\"ids\":[1],\"labels\":[1]}", "without one text per token"},
      {"{\"index\":0,\"ids\":[1],\"labels\":[1],\"tokens\":[]}", "without one text per token"},
      {"{\"index\":0,\"ids\":[1],\"labels\":[1],\"tokens\":[null]}", "other than texts"},
  };
  for (const auto& [line, message] : examples)
    EXPECT_THAT(std::string(ReadExamples(Lines(line)).status().message()), HasSubstr(message));
  const char* const rows[] = {
      "{\"row\":5,\"index\":[0],\"cu_seqlens\":[0,2],\"ids\":[1],\"labels\":[1]}",
      "{\"row\":5,\"index\":[0],\"cu_seqlens\":[-1,1],\"ids\":[1],\"labels\":[1]}",
      "{\"row\":5,\"index\":[0,1],\"cu_seqlens\":[0,1],\"ids\":[1],\"labels\":[1]}",
      "{\"row\":5,\"index\":[0],\"cu_seqlens\":[0,1,2],\"ids\":[1,2],\"labels\":[1,2]}",
      "{\"row\":5,\"index\":[0,1],\"cu_seqlens\":[0,1,0],\"ids\":[1],\"labels\":[1],"
      "\"tokens\":[\"a\"]}",
      "{\"row\":5,\"index\":[0],\"cu_seqlens\":[0,1],\"ids\":[1],\"labels\":[]}",
  };
  for (const char* row : rows) {
    EXPECT_THAT(std::string(ReadPackedRows(Lines(row)).status().message()),
                HasSubstr("packed row 5 with lists that do not fit"))
        << row;
  }
  EXPECT_THAT(std::string(ParseJsonLines("{}\nhello\n").status().message()),
              HasSubstr("not a JSON object: hello"));
}

}  // namespace
}  // namespace trainerd::client
