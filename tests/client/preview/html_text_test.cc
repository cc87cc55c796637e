// SPDX-License-Identifier: Apache-2.0
// Expectations: the HTML standard's rules for text and quoted attribute values.
#include "client/preview/html_text.h"

#include <gtest/gtest.h>

namespace trainerd::client {
namespace {

using std::string_literals::operator""s;

TEST(HtmlTextTest, EscapesMarkup) {
  EXPECT_EQ(HtmlText("<script>alert(1)</script>"), "&lt;script&gt;alert(1)&lt;/script&gt;");
  EXPECT_EQ(HtmlText("</style>&amp;"), "&lt;/style&gt;&amp;amp;");
  EXPECT_EQ(HtmlText("a\"b'c"), "a&quot;b&#39;c");
  EXPECT_EQ(HtmlOfTokens("<b a=\"1\">&lt;'"), "&lt;b a=&quot;1&quot;&gt;&amp;lt;&#39;");
  EXPECT_EQ(HtmlText("é 你 😀\n\t"), "é 你 😀\n\t");
}

TEST(HtmlTextTest, ShowsInvisibleCharactersAsCodePoints) {
  EXPECT_EQ(HtmlText("a\0b\x1b[0m\r\x7f"s), "aU+0000bU+001B[0mU+000DU+007F");
  EXPECT_EQ(HtmlText("\u0085\u00ad\ufeff\u200b\U000E0041\ufffe\U0010ffff"),
            "U+0085U+00ADU+FEFFU+200BU+E0041U+FFFEU+10FFFF");
  EXPECT_EQ(HtmlOfTokens("x\0"s), "x<i class=\"c\">U+0000</i>");
  // Characters that shape their neighbours stay: a family, a heart in color, Persian.
  const std::string shaped = "\U0001F468\u200d\U0001F469 \u2764\ufe0f \u0645\u06cc\u200c\u062e";
  EXPECT_EQ(HtmlText(shaped), shaped);
}

TEST(HtmlTextTest, ShowsBidirectionalControlsAsCodePoints) {
  for (const char* control : {"\u061c", "\u200e", "\u200f", "\u202a", "\u202b", "\u202c", "\u202d",
                              "\u202e", "\u2066", "\u2067", "\u2068", "\u2069", "\u2028", "\u2029"})
    EXPECT_EQ(HtmlText(control).substr(0, 2), "U+") << control;
  EXPECT_EQ(HtmlOfTokens("a\u202eb"), "a<i class=\"c\">U+202E</i>b");
}

TEST(HtmlTextTest, ReplacesInvalidBytes) {
  EXPECT_EQ(HtmlText("a\xff\xc3"), "a\ufffd\ufffd");
  EXPECT_EQ(HtmlOfTokens("\xed\xa0\x80"), "\ufffd\ufffd\ufffd") << "a surrogate";
}

TEST(HtmlTextTest, MarksAndKeepsNewlinesAndTabs) {
  EXPECT_EQ(HtmlOfTokens("a\n\tb"), "a<i class=\"n\">\n</i><i class=\"t\">\t</i>b");
  EXPECT_EQ(HtmlLine("a\n\t\"\r"), "a\\n\\t&quot;U+000D");
}

}  // namespace
}  // namespace trainerd::client
