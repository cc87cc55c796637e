// SPDX-License-Identifier: Apache-2.0
#include "proto/base/plain_text.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <string>

#include "proto/base/utf8.h"

namespace trainerd {
namespace {

TEST(PlainTextTest, ReplacesWhatCouldSteerATerminal) {
  EXPECT_EQ(PlainText("a\x1b[2Jb\r\nc\td"), "a?[2Jb? c d");
  EXPECT_EQ(PlainTextLines("a\x1b]0;title\x07\nb\tc"), "a?]0;title?\nb\tc");
  EXPECT_EQ(PlainText("\xc2\x9b"
                      "31m"),
            "?31m");  // the one-character form of ESC [
  EXPECT_EQ(PlainText("a\xe2\x80\xae"
                      "b"),
            "a?b");  // right-to-left override
  EXPECT_EQ(PlainText("\xff\xfe"), "??");
  EXPECT_EQ(PlainText("日本 ok"), "日本 ok");
}

// The controls of Unicode's Bidi_Control, C0, C1 and the separators, first and last of each range.
TEST(PlainTextTest, KnowsControlCharacters) {
  for (const uint32_t control :
       {0x00u, 0x09u, 0x0au, 0x1fu, 0x7fu, 0x80u, 0x85u, 0x9fu, 0x61cu, 0x200eu, 0x200fu, 0x2028u,
        0x2029u, 0x202au, 0x202eu, 0x2066u, 0x2069u}) {
    std::string text = "a";
    AppendUtf8(control, &text);
    EXPECT_TRUE(IsControlCharacter(control)) << std::hex << control;
    EXPECT_TRUE(HasControlCharacter(text + "b")) << std::hex << control;
  }
  for (const uint32_t plain :
       {0x20u, 0x7eu, 0xa0u, 0x200du, 0x2010u, 0x2027u, 0x202fu, 0x2065u, 0x206au, 0x1f600u}) {
    std::string text = "a";
    AppendUtf8(plain, &text);
    EXPECT_FALSE(HasControlCharacter(text)) << std::hex << plain;
  }
  EXPECT_TRUE(HasControlCharacter("a\xff"));
  EXPECT_FALSE(HasControlCharacter(""));
}

TEST(PlainTextTest, EscapesControlCharacters) {
  EXPECT_EQ(EscapedText("a\nb\tc\x1b[m\x7f"), "a\\nb\\tc\\x1b[m\\x7f");
  EXPECT_EQ(EscapedText("\xc2\x9b\xe2\x80\xae\xe2\x80\xa8"), "\\u009b\\u202e\\u2028");
  EXPECT_EQ(EscapedText("日本 \xff"), "日本 \\xff");
}

TEST(PlainTextTest, QuotesWordsForAShell) {
  EXPECT_EQ(ShellWord("/models/Qwen3-0.6B"), "/models/Qwen3-0.6B");
  for (const std::string text : {"", "a b", "it's", "$HOME", "a;b", "-x `y` \"z\" \\", "ü"}) {
    std::FILE* shell = popen(("printf %s " + ShellWord(text)).c_str(), "r");
    ASSERT_NE(shell, nullptr);
    char buffer[64] = {};
    const size_t size = fread(buffer, 1, sizeof(buffer), shell);
    EXPECT_EQ(pclose(shell), 0);
    EXPECT_EQ(std::string(buffer, size), text);
  }
}

}  // namespace
}  // namespace trainerd
