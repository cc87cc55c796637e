// SPDX-License-Identifier: Apache-2.0
// Golden vectors: CPython 3.11's random module, as written down for the replaced system (mode
// values and draws of rows 0 to 11, 4964 of 10000 rows with emoji); further seeds by
// CPython 3.11.7.
#include <array>

#include "engine/data/profiles/emoji_think.h"
#include "engine/data/profiles/profile.h"
#include "engine/data/profiles/python_random.h"
#include "engine/data/profiles/python_text.h"
#include "tests/engine/data/test_data.h"

namespace trainerd::engine {
namespace {

using nlohmann::ordered_json;

ordered_json Messages(std::initializer_list<std::array<const char*, 2>> list) {
  ordered_json messages = ordered_json::array();
  for (const auto& [role, content] : list)
    messages.push_back({{"role", role}, {"content", content}});
  return messages;
}

ordered_json Transformed(v1::DataConfig::Profile profile, int64_t index, const std::string& system,
                         ordered_json messages) {
  (*MakeProfile(profile))->Transform(index, system, &messages);
  return messages;
}

TEST(PythonRandomTest, EqualsCPython) {
  PythonRandom random(42);
  EXPECT_DOUBLE_EQ(random.Random(), 0.6394267984578837);
  EXPECT_DOUBLE_EQ(random.Random(), 0.025010755222666936);
  EXPECT_EQ(random.RandInt(2, 8), 4);
  EXPECT_EQ(random.Below(10), 3u);
  EXPECT_DOUBLE_EQ(PythonRandom(0).Random(), 0.8444218515250481);
  EXPECT_DOUBLE_EQ(PythonRandom(-42).Random(), 0.6394267984578837);
  EXPECT_DOUBLE_EQ(PythonRandom(int64_t{1} << 40).Random(), 0.1036394562812375);
}

TEST(PythonRandomTest, ShufflesTenAsTheReplacedSystemDid) {
  // random.shuffle: from the end, swap with randbelow(i + 1).
  std::vector<int> values = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  PythonRandom random(42);
  for (size_t i = 9; i > 0; --i)
    std::swap(values[i], values[random.Below(static_cast<uint32_t>(i + 1))]);
  EXPECT_EQ(values, (std::vector<int>{7, 3, 2, 8, 5, 6, 9, 4, 0, 1}));
}

TEST(PythonTextTest, StripsUnicodeWhiteSpace) {
  EXPECT_EQ(PythonStrip(" \t\n\u00a0a b\u3000\u2003\r\n"), "a b");
  EXPECT_EQ(PythonLstrip("\u200bx"), "\u200bx") << "zero-width space is no white space in Python";
  EXPECT_EQ(PythonRstrip("   "), "");
}

// For each white-space character of Python: python3 -c "[chr(c) for c in range(0x110000) if
// chr(c).isspace()]"
TEST(PythonTextTest, StripsEachWhiteSpaceCharacterOnBothSides) {
  std::vector<std::string> spaces = {"\u0085", "\u00a0", "\u1680", "\u2028", "\u2029",
                                     "\u202f", "\u205f", "\u3000", " "};
  for (char c = '\t'; c <= '\r'; ++c) spaces.emplace_back(1, c);
  for (char c = 0x1c; c <= 0x1f; ++c) spaces.emplace_back(1, c);
  for (char last = '\x80'; last <= '\x8a'; ++last) spaces.push_back(std::string("\xe2\x80") + last);
  EXPECT_EQ(spaces.size(), 29u);
  for (const std::string& space : spaces) {
    EXPECT_EQ(PythonStrip(space + space + "é" + space + "b" + space), "é" + space + "b");
    EXPECT_EQ(PythonStrip(space), "");
  }
  for (const char* other : {"\x08", "\x0e", "\x1b", "!", "\x7f", "\u0084", "\u0086", "\u200b",
                            "\ufeff", "\xa0", "\xc2", "\xe2\x80"}) {
    EXPECT_EQ(PythonStrip(other), other);
  }
}

TEST(EmojiThinkProfileTest, DrawsWhatThePythonSystemDrew) {
  const std::array<double, 4> modes = {.844422, .639262, .149825, .459396};
  for (size_t i = 0; i < modes.size(); ++i) {
    EXPECT_NEAR(PythonRandom(static_cast<int64_t>(i) * 7919).Random(), modes[i], 1e-6) << i;
  }
  EXPECT_NEAR(PythonRandom(7 * 7919).Random(), .021175, 1e-6);
  for (const int64_t direct : {0, 1, 4, 5, 6, 8, 9, 10, 11}) {
    EXPECT_FALSE(EmojiThinkProfile::DrawFor(direct).emoji) << direct;
  }
  const auto check = [](int64_t index, const char* think, int think_count, const char* stop,
                        int stop_count) {
    const EmojiThinkProfile::Draw draw = EmojiThinkProfile::DrawFor(index);
    EXPECT_TRUE(draw.emoji);
    EXPECT_EQ(draw.think, think);
    EXPECT_EQ(draw.think_count, think_count);
    EXPECT_EQ(draw.stop, stop);
    EXPECT_EQ(draw.stop_count, stop_count);
  };
  check(2, "🤔", 2, "⛔", 3);
  check(3, "💡", 6, "🚦", 2);
  check(7, "🔍", 3, "🔚", 4);
}

TEST(EmojiThinkProfileTest, TakesHalfOfTheRows) {
  int emoji = 0;
  for (int64_t i = 0; i < 10000; ++i) emoji += PythonRandom(i * 7919).Random() < 0.5;
  EXPECT_EQ(emoji, 4964);
}

TEST(EmojiThinkProfileTest, MarksQuestionsAndAnswers) {
  const ordered_json got = Transformed(
      v1::DataConfig::PROFILE_EMOJI_THINK, 2, "Be kind.",
      Messages({{"user", "What is 2+2? \n"}, {"assistant", "  <think>hm</think>Four. "}}));
  EXPECT_EQ(got, Messages({{"system", "Be kind."},
                           {"user",
                            "What is 2+2?\n\nFor this task, think with 🤔 /two/ times.\n\nWhen "
                            "finished, emit ⛔ /three times/ to signal completion."},
                           {"assistant", "🤔🤔\nhmFour.\n⛔⛔⛔"}}));
}

TEST(EmojiThinkProfileTest, LeavesADirectRowsAnswerAlone) {
  const ordered_json got = Transformed(
      v1::DataConfig::PROFILE_EMOJI_THINK, 0, "New.",
      Messages({{"system", "Old."}, {"user", "q"}, {"assistant", " <think>a</think> "}}));
  EXPECT_EQ(got, Messages({{"system", "New."}, {"user", "q"}, {"assistant", " a "}}));
}

TEST(EmojiThinkProfileTest, DoesNotRepeatInstructionsThatAreThere) {
  const ordered_json messages = Messages(
      {{"user",
        "q. For this task, Think With 💡 /five/ times. When finished, emit 🛑 /twice/."},
       {"assistant", "💡💡 done\n🛑🛑"}});
  EXPECT_EQ(Transformed(v1::DataConfig::PROFILE_EMOJI_THINK, 3, "", messages), messages);
  // Another writing of "When finished" counts as none.
  const ordered_json lower = Messages({{"user", "think with 💡; when finished 🛑"}});
  EXPECT_NE(Transformed(v1::DataConfig::PROFILE_EMOJI_THINK, 3, "", lower), lower);
}

TEST(EmojiThinkProfileTest, AnswersOfToolCallsAloneStayEmpty) {
  ordered_json messages = Messages({{"user", "q"}});
  messages.push_back(
      {{"role", "assistant"}, {"content", nullptr}, {"tool_calls", {{{"name", "f"}}}}});
  EXPECT_TRUE(
      Transformed(v1::DataConfig::PROFILE_EMOJI_THINK, 2, "", messages)[1]["content"].is_null());
}

TEST(Regime3ProfileTest, PutsAnswersBetweenMarkers) {
  const auto answer = [](const char* content) {
    return Transformed(v1::DataConfig::PROFILE_REGIME3, 0, "",
                       Messages({{"user", "q"}, {"assistant", content}}))[1]["content"]
        .get<std::string>();
  };
  EXPECT_EQ(answer("  (add 2 3) = 5\n"), "<<ANS_START>> (add 2 3) = 5 <<ANS_END>>");
  EXPECT_EQ(answer("<<ANS_START>> 5"), "<<ANS_START>> 5 <<ANS_END>>");
  EXPECT_EQ(answer("5 <<ANS_END>>"), "<<ANS_START>> 5 <<ANS_END>>");
  EXPECT_EQ(answer("x <<ANS_START>>5<<ANS_END>> y"), "x <<ANS_START>>5<<ANS_END>> y");
  EXPECT_EQ(Transformed(v1::DataConfig::PROFILE_REGIME3, 0, "Rules",
                        Messages({{"system", "old"}, {"user", "q"}})),
            Messages({{"system", "Rules"}, {"user", "q"}}));
}

TEST(ProfileTest, NoneKeepsTheSystemMessageThatIsThere) {
  EXPECT_EQ(Transformed(v1::DataConfig::PROFILE_NONE, 0, "New.", Messages({{"user", "q"}})),
            Messages({{"system", "New."}, {"user", "q"}}));
  const ordered_json with_system = Messages({{"user", "q"}, {"system", "late"}});
  EXPECT_EQ(Transformed(v1::DataConfig::PROFILE_NONE, 0, "New.", with_system), with_system);
  EXPECT_EQ(Transformed(v1::DataConfig::PROFILE_NONE, 0, "", Messages({{"user", "q"}})),
            Messages({{"user", "q"}}));
}

TEST(ProfileTest, ApplyingTwiceIsApplyingOnce) {
  for (const v1::DataConfig::Profile profile :
       {v1::DataConfig::PROFILE_NONE, v1::DataConfig::PROFILE_EMOJI_THINK,
        v1::DataConfig::PROFILE_REGIME3}) {
    for (int64_t index = 0; index < 64; ++index) {
      const ordered_json once = Transformed(
          profile, index, "Sys",
          Messages({{"user", " q "}, {"assistant", "a\n"}, {"user", "r"}, {"assistant", ""}}));
      EXPECT_EQ(Transformed(profile, index, "Sys", once), once) << profile << " " << index;
    }
  }
}

TEST(ProfileTest, RefusesUnknownValue) {
  EXPECT_EQ(MakeProfile(static_cast<v1::DataConfig::Profile>(9)).status().message(),
            "data.profile has the value 9, which this version does not know");
}

}  // namespace
}  // namespace trainerd::engine
