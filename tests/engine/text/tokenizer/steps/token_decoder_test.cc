// SPDX-License-Identifier: Apache-2.0
// Expected by hand from the rules of the reference; sentencepiece_reference_test compares with it.
// It fails for "stop" beyond the text, so that this is tested here alone.
#include "engine/text/tokenizer/steps/token_decoder.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace trainerd::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Step = TokenDecoder::Step;

const Step kReplace{.kind = Step::Kind::kReplace, .pattern = "▁", .content = " "};
const Step kByteFallback{.kind = Step::Kind::kByteFallback, .pattern = "", .content = ""};
const Step kFuse{.kind = Step::Kind::kFuse, .pattern = "", .content = ""};

Step Strip(int64_t start, int64_t stop) {
  return {.kind = Step::Kind::kStrip, .pattern = " ", .content = "", .start = start, .stop = stop};
}

TokenDecoder DecoderOf(const std::vector<Step>& steps) {
  TokenDecoder decoder = TokenDecoder::OfCharacters();
  for (const Step& step : steps) EXPECT_TRUE(decoder.Add(step).ok());
  return decoder;
}

// What each token completes, as "earlier|own"; then what Finish adds.
std::vector<std::string> Stream(const TokenDecoder& decoder,
                                const std::vector<std::string>& tokens) {
  TokenDecoder::Stream stream(decoder);
  std::vector<std::string> texts;
  for (const std::string& token : tokens) {
    std::string earlier, own;
    stream.Append(token, &earlier, &own);
    texts.push_back(earlier + "|" + own);
  }
  std::string rest;
  stream.Finish(&rest);
  texts.push_back(rest);
  return texts;
}

std::string Decode(const TokenDecoder& decoder, const std::vector<std::string>& tokens) {
  TokenDecoder::Stream stream(decoder);
  std::string text;
  for (const std::string& token : tokens) stream.Append(token, &text, &text);
  stream.Finish(&text);
  return text;
}

TEST(TokenDecoderTest, HoldsBytesUntilTheirRunEnds) {
  const TokenDecoder llama = DecoderOf({kReplace, kByteFallback, kFuse, Strip(1, 0)});
  EXPECT_THAT(Stream(llama, {"▁", "▁a", "<0xC3>", "<0xA9>", "▁b", "<0x0A>"}),
              ElementsAre("|", "| a", "|", "|", "é| b", "|", "\n"));
}

TEST(TokenDecoderTest, ReplacesEachByteOfARunThatIsNotUtf8) {
  const TokenDecoder gemma = DecoderOf({kReplace, kByteFallback, kFuse});
  EXPECT_EQ(Decode(gemma, {"<0x41>", "<0xFF>", "x", "<0xE2>", "<0x96>"}),
            "\uFFFD\uFFFDx\uFFFD\uFFFD");
  EXPECT_EQ(Decode(gemma, {"<0x41>", "x"}), "Ax");
}

TEST(TokenDecoderTest, TakesOnlyTheSpellingOfAByteForOne) {
  const TokenDecoder gemma = DecoderOf({kByteFallback, kFuse});
  EXPECT_EQ(Decode(gemma, {"<0x4a>"}), "J");
  EXPECT_EQ(Decode(gemma, {"<0x+a>"}), "\n");
  for (const char* token : {"<0x4>", "<0x4G>", "<0x-1>", "<0x041>", "<0X41>", "x0x41>", "<0x41 "}) {
    EXPECT_EQ(Decode(gemma, {token}), token);
  }
}

TEST(TokenDecoderTest, StripsTheTextBehindFuseAndEachTokenBeforeIt) {
  const std::vector<std::string> tokens = {" ", " a ", " b ", " ", " "};
  EXPECT_EQ(Decode(DecoderOf({kFuse, Strip(1, 0)}), tokens), " a  b   ");
  EXPECT_EQ(Decode(DecoderOf({kFuse, Strip(5, 2)}), tokens), "a  b ");
  EXPECT_EQ(Decode(DecoderOf({kFuse, Strip(0, 9)}), tokens), "  a  b");
  EXPECT_EQ(Decode(DecoderOf({Strip(1, 1)}), tokens), "ab");
  EXPECT_EQ(Decode(DecoderOf({kFuse, Strip(1, 1)}), {" ", " ", " "}), " ");
}

TEST(TokenDecoderTest, RefusesStepsThatNeedTheWholeText) {
  const auto message = [](const std::vector<Step>& steps, const Step& last) {
    return std::string(DecoderOf(steps).Add(last).message());
  };
  EXPECT_THAT(message({kFuse}, kByteFallback), HasSubstr("behind Fuse"));
  EXPECT_THAT(message({kFuse}, {.kind = Step::Kind::kReplace, .pattern = "ab", .content = ""}),
              HasSubstr("behind Fuse"));
  EXPECT_THAT(message({kFuse, Strip(1, 0)}, Strip(1, 0)), HasSubstr("twice"));
  EXPECT_THAT(message({kByteFallback}, kByteFallback), HasSubstr("twice"));
}

TEST(TokenDecoderTest, JoinsTheBytesOfByteLevelTokens) {
  const TokenDecoder byte_level;
  EXPECT_THAT(Stream(byte_level, {"a\xC3", "\xA9", "\xE2", "b", "", "\xE2"}),
              ElementsAre("|a", "|é", "|", "\uFFFD|b", "|", "|", "\uFFFD"));
  EXPECT_EQ(Decode(byte_level, {"\xC3", "", "\xA9"}), "é");
}

}  // namespace
}  // namespace trainerd::engine
