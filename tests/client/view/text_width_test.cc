// SPDX-License-Identifier: Apache-2.0
// Expected widths are those that terminals use: East Asian wide characters take two columns,
// combining marks none.
#include "client/view/text_width.h"

#include <gtest/gtest.h>

namespace trainerd::client {
namespace {

TEST(TextWidthTest, CountsColumnsNotBytes) {
  EXPECT_EQ(DisplayWidth("loss"), 4);
  EXPECT_EQ(DisplayWidth("日本"), 4);
  EXPECT_EQ(DisplayWidth("e\xcc\x81"), 1);  // e and a combining acute
  EXPECT_EQ(DisplayWidth("\x1b[32mok\x1b[0m"), 2);
  EXPECT_EQ(DisplayWidth("\xff"), 1);
}

TEST(TextWidthTest, CutsBetweenCharactersAndResetsColors) {
  EXPECT_EQ(FitWidth("abcdef", 6), "abcdef");
  EXPECT_EQ(FitWidth("abcdef", 4), "abc…");
  EXPECT_EQ(FitWidth("abcdef", 4, /*utf8=*/false), "abc~");
  // The second wide character would need columns 3 and 4, and one is kept for the mark.
  EXPECT_EQ(FitWidth("日本語", 4), "日…");
  EXPECT_EQ(FitWidth("\x1b[31mabcdef\x1b[0m", 3), "\x1b[31mab…\x1b[0m");
  EXPECT_EQ(FitWidth("abc", 0), "");
  for (int columns = 1; columns < 12; ++columns)
    EXPECT_LE(DisplayWidth(FitWidth("a日b本c語d", columns)), columns);
}

TEST(TextWidthTest, FindsAnIncompleteCharacter) {
  EXPECT_EQ(WholeCharacters(""), 0u);
  EXPECT_EQ(WholeCharacters("abc"), 3u);
  const std::string text = "a日";
  EXPECT_EQ(WholeCharacters(text), 4u);
  EXPECT_EQ(WholeCharacters(text.substr(0, 3)), 1u);
  EXPECT_EQ(WholeCharacters(text.substr(0, 2)), 1u);
  EXPECT_EQ(WholeCharacters("a\x80\x80\x80\x80"), 5u) << "no character at all is not waited for";
}

TEST(TextWidthTest, PadsByColumns) {
  EXPECT_EQ(PadRight("日本", 6), "日本  ");
  EXPECT_EQ(PadLeft("7", 3), "  7");
  EXPECT_EQ(PadRight("long", 2), "long");
}

}  // namespace
}  // namespace trainerd::client
