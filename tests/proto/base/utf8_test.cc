// SPDX-License-Identifier: Apache-2.0
// Expectations: Unicode standard, table 3-7 (well-formed UTF-8) and its examples of replacing
// maximal subparts (tables 3-8 to 3-11).
#include "proto/base/utf8.h"

#include <algorithm>

#include "gtest/gtest.h"

namespace trainerd {
namespace {

constexpr size_t kValid = std::string_view::npos;

std::string Lossy(std::string_view bytes) {
  std::string text;
  AppendLossyUtf8(bytes, &text);
  // U+FFFD as one character, for readable expectations.
  for (size_t at; (at = text.find("\xEF\xBF\xBD")) != std::string::npos;) text.replace(at, 3, "#");
  return text;
}

TEST(Utf8Test, AcceptsEveryCodePointExceptSurrogates) {
  for (uint32_t code = 0; code <= 0x10FFFF; ++code) {
    std::string text;
    AppendUtf8(code, &text);
    const bool surrogate = code >= 0xD800 && code <= 0xDFFF;
    ASSERT_EQ(FindInvalidUtf8(text), surrogate ? 0 : kValid) << code;
    int size = 0;
    ASSERT_EQ(DecodeUtf8(text.data(), &size), code);
    ASSERT_EQ(static_cast<size_t>(size), text.size());
  }
}

TEST(Utf8Test, FindsFirstInvalidByte) {
  EXPECT_EQ(FindInvalidUtf8(""), kValid);
  EXPECT_EQ(FindInvalidUtf8("plain text, longer than eight bytes"), kValid);
  EXPECT_EQ(FindInvalidUtf8("gr\xC3\xBC\xC3\x9F"
                            "e \xE2\x82\xAC \xF0\x9F\x98\x80"),
            kValid);
  EXPECT_EQ(FindInvalidUtf8("0123456789\xFF"), 10u);
  for (const char* bad :
       {"\x80", "\xC3", "\xC0\xAF", "\xE2\x82", "\xE0\x80\x80", "\xED\xA0\x80", "\xF0\x80\x80\x80",
        "\xF4\x90\x80\x80", "\xF8\x88\x80\x80\x80", "\xC1\xBF", "\xF5\x80\x80\x80"}) {
    EXPECT_EQ(FindInvalidUtf8(bad), 0u);
    EXPECT_EQ(FindInvalidUtf8(std::string("\xC3\xBC") + bad), 2u);
  }
}

TEST(Utf8Test, ReplacesEachMaximalInvalidPart) {
  EXPECT_EQ(Lossy("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"), "########A");
  EXPECT_EQ(Lossy("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41"), "########A");
  EXPECT_EQ(Lossy("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42"), "#####A##B");
  EXPECT_EQ(Lossy("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"), "####A");
  EXPECT_EQ(Lossy("\xE2\x82"), "#");
}

TEST(Utf8Test, HoldsIncompleteCharacterAtEnd) {
  const std::string text = "a\xF0\x9F\x98\x80";
  for (size_t size = 2; size < text.size(); ++size) {
    std::string out;
    size_t held = 0;
    AppendLossyUtf8(std::string_view(text).substr(0, size), &out, &held);
    EXPECT_EQ(out, "a");
    EXPECT_EQ(held, size - 1);
  }
  std::string out;
  size_t held = 1;
  AppendLossyUtf8(text, &out, &held);
  EXPECT_EQ(out, text);
  EXPECT_EQ(held, 0u);
  // No character starts so: replaced at once.
  out.clear();
  AppendLossyUtf8("a\xC0", &out, &held);
  EXPECT_EQ(out, "a\xEF\xBF\xBD");
  EXPECT_EQ(held, 0u);
}

TEST(Utf8Test, NeverGrowsTextForMessages) {
  EXPECT_EQ(ToValidUtf8("gr\xC3\xBC\xC3\x9F"
                        "e"),
            "gr\xC3\xBC\xC3\x9F"
            "e");
  EXPECT_EQ(ToValidUtf8("\xFF\xC3\xA4\n"), "?\xC3\xA4\n");
  EXPECT_EQ(ToValidUtf8("cut \xE2\x82"), "cut ?");
  EXPECT_EQ(ToValidUtf8(std::string("a\0b", 3)), std::string("a\0b", 3));
}

}  // namespace
}  // namespace trainerd
