// SPDX-License-Identifier: Apache-2.0
// Expectations: Unicode Standard Annex #15 and its examples.
#include "engine/text/unicode/nfc.h"

#include "gtest/gtest.h"

namespace trainerd::engine {
namespace {

std::string Nfc(std::string_view text) {
  NormalizedText out;
  NormalizeNfc(text, &out);
  EXPECT_EQ(out.source_begin.size(), out.text.size());
  EXPECT_EQ(out.source_end.size(), out.text.size());
  EXPECT_EQ(NeedsNfc(text) || out.text == text, true) << "changed without need";
  return out.text;
}

TEST(NfcTest, Composes) {
  EXPECT_EQ(Nfc("e\u0301"), "\u00e9");
  EXPECT_EQ(Nfc("A\u030a"), "\u00c5");
  EXPECT_EQ(Nfc("\u212b"), "\u00c5");               // the Angstrom sign
  EXPECT_EQ(Nfc("\u1e9b\u0323"), "\u1e9b\u0323");   // long s, dot above and below
  EXPECT_EQ(Nfc("D\u0307\u0323"), "\u1e0c\u0307");  // marks are put in order first
  EXPECT_EQ(Nfc("\u0958"), "\u0915\u093c");         // excluded from composition
}

TEST(NfcTest, ComposesHangul) {
  EXPECT_EQ(Nfc("\u1112\u1161\u11ab"), "\ud55c");
  EXPECT_EQ(Nfc("\u1112\u1161"), "\ud558");
  EXPECT_EQ(Nfc("\ud558\u11ab"), "\ud55c");
  EXPECT_EQ(Nfc("\ud55c"), "\ud55c");
  EXPECT_EQ(Nfc("\u1161\u11ab"), "\u1161\u11ab");
}

TEST(NfcTest, BlockedMarksStayApart) {
  EXPECT_EQ(Nfc("a\u0305\u0301"), "a\u0305\u0301");  // equal classes block
  EXPECT_EQ(Nfc("a\u0323\u0301"), "\u1ea1\u0301");
  EXPECT_EQ(Nfc("\u0301a"), "\u0301a");
  EXPECT_EQ(Nfc("ab\u0301c"), "ab\u0301c");
}

TEST(NfcTest, MostTextIsLeftAlone) {
  for (const char* text : {"", "plain", "naïve Ärger", "你好世界", "안녕하세요", "Привет", "🎉"}) {
    EXPECT_FALSE(NeedsNfc(text)) << text;
  }
  EXPECT_TRUE(NeedsNfc("a long plain text and then e\u0301"));
}

TEST(NfcTest, TellsWhereBytesCameFrom) {
  NormalizedText out;
  NormalizeNfc("xe\u0301y", &out);  // x, e + 2 bytes of mark, y
  ASSERT_EQ(out.text, "x\u00e9y");
  EXPECT_EQ(out.source_begin, (std::vector<uint32_t>{0, 1, 1, 4}));
  EXPECT_EQ(out.source_end, (std::vector<uint32_t>{1, 4, 4, 5}));
}

}  // namespace
}  // namespace trainerd::engine
