// SPDX-License-Identifier: Apache-2.0
#include "proto/base/plain_text.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace trainerd
