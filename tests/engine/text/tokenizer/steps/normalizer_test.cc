// SPDX-License-Identifier: Apache-2.0
// Expected by hand; sentencepiece_reference_test compares with the reference.
#include "engine/text/tokenizer/steps/normalizer.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace trainerd::engine {
namespace {

using ::testing::ElementsAre;
using Change = Normalizer::Change;
using Step = Normalizer::Step;
using Kind = Normalizer::Step::Kind;

const Step kPrepend{Kind::kPrepend, "", "▁"};
const Step kSpaces{Kind::kReplace, " ", "▁"};

TEST(NormalizerTest, LeavesMostTextsAsTheyAre) {
  const Normalizer gemma({kSpaces});
  EXPECT_EQ(gemma.space_symbol(), "▁");
  EXPECT_EQ(gemma.ChangeOf("a b"), Change::kNone);
  EXPECT_EQ(gemma.ChangeOf("a▁b"), Change::kOther);
  const Normalizer llama({kPrepend, kSpaces});
  EXPECT_EQ(llama.ChangeOf("a b"), Change::kSpaceInFront);
  EXPECT_EQ(llama.ChangeOf("a▁b"), Change::kOther);
  EXPECT_EQ(Normalizer({kPrepend, kPrepend, kSpaces}).ChangeOf("a"), Change::kOther);
  EXPECT_EQ(Normalizer({{Kind::kNfc, "", ""}, kSpaces}).ChangeOf("a"), Change::kNone);
  EXPECT_EQ(Normalizer({{Kind::kNfc, "", ""}, kSpaces}).ChangeOf("e\u0301"), Change::kOther);
  EXPECT_EQ(Normalizer({kPrepend}).ChangeOf("a"), Change::kOther) << "no space stands for it";
}

TEST(NormalizerTest, WritesASpaceForTheSpaceSymbol) {
  NormalizedText n;
  Normalizer({kPrepend, kSpaces}).Normalize("é▁ b", &n);
  EXPECT_EQ(n.text, " é  b");
  EXPECT_THAT(n.source_begin, ElementsAre(0, 0, 0, 2, 5, 6));
  EXPECT_THAT(n.source_end, ElementsAre(2, 2, 2, 5, 6, 7));
}

TEST(NormalizerTest, TakesReplacedTextFromTheLastByteOfThePattern) {
  NormalizedText n;
  Normalizer({{Kind::kReplace, "ab", "xyz"}}).Normalize("cabab", &n);
  EXPECT_EQ(n.text, "cxyzxyz");
  EXPECT_THAT(n.source_begin, ElementsAre(0, 2, 2, 2, 4, 4, 4));
  EXPECT_THAT(n.source_end, ElementsAre(1, 3, 3, 3, 5, 5, 5));
  Normalizer({{Kind::kReplace, "ab", ""}, kPrepend}).Normalize("ab", &n);
  EXPECT_EQ(n.text, "") << "nothing is put in front of an empty text";
}

TEST(NormalizerTest, FindsAStepThatWritesASpaceBehindTheSymbol) {
  EXPECT_EQ(Normalizer::WritesSpace({kPrepend, kSpaces}), -1);
  EXPECT_EQ(Normalizer::WritesSpace({{Kind::kPrepend, "", " "}, kSpaces}), -1);
  EXPECT_EQ(Normalizer::WritesSpace({kSpaces, {Kind::kPrepend, "", "a b"}}), 1);
}

}  // namespace
}  // namespace trainerd::engine
