// SPDX-License-Identifier: Apache-2.0
#include "proto/base/plain_text.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <string>

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
