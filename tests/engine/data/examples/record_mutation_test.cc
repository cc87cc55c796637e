// SPDX-License-Identifier: Apache-2.0
// Rows that were damaged at random must come out as a fault or as a row that holds together, never
// as anything else. Run under AddressSanitizer this is also the search for reads beyond a line.
#include <random>

#include "engine/data/examples/example_pipeline.h"
#include "tests/engine/data/test_data.h"

namespace trainerd::engine {
namespace {

constexpr int kRounds = 20000;

std::string Damaged(std::string row, std::mt19937* random) {
  static constexpr const char* kPieces[] = {"\"",
                                            "{",
                                            "}",
                                            "[",
                                            "]",
                                            "null",
                                            ",",
                                            ":",
                                            "\\u00e9",
                                            "\\ud83d",
                                            "\xc3",
                                            "\xff",
                                            "1e999",
                                            "<|im_end|>",
                                            "<|im_start|>assistant\n",
                                            "\"role\":",
                                            "\"content\":",
                                            "\"assistant\"",
                                            "true",
                                            "\\n",
                                            "-0",
                                            "\xf0\x9f\x98\x80",
                                            "\"tool_calls\":[]",
                                            "\"weight\":0,",
                                            " "};
  for (int edits = 1 + static_cast<int>((*random)() % 2); edits > 0 && !row.empty(); --edits) {
    const size_t at = (*random)() % row.size();
    switch ((*random)() % 16) {
      case 0:
        row.resize(at);
        break;
      case 1:
        row[at] = static_cast<char>((*random)());
        break;
      case 2:
      case 3:
        row.erase(at, 1 + (*random)() % 6);
        break;
      case 4:
      case 5:
      case 6:
      case 7:
        row[at] = static_cast<char>('a' + (*random)() % 26);
        break;
      default:
        row.insert(at, kPieces[(*random)() % std::size(kPieces)]);
    }
  }
  return row;
}

TEST(RowMutationTest, ADamagedRowIsAFaultOrHoldsTogether) {
  const TempDir folder;
  const v1::JobConfig config = BaseConfig(WriteByteTokenizer(folder, ""), "unused");
  const TextPipeline text = *OpenTextPipeline(config);
  const std::unique_ptr<ExamplePipeline> pipeline = *ExamplePipeline::Create(config, text);
  ExamplePipeline::Scratch scratch;
  const std::string seeds[] = {
      R"({"messages":[{"role":"system","content":"s"},{"role":"user","content":"q é 😀"},)"
      R"({"role":"assistant","content":"a","weight":1}],"tools":[{"name":"f"}]})",
      R"({"conversations":[{"from":"human","value":"q"},)"
      R"({"from":"gpt","value":"a\n"}],"system":"s"})",
      R"({"instruction":"i","input":"x","output":"o"})",
      R"({"prompt":[{"role":"user","content":[{"type":"text","text":"q"}]}],"completion":"c"})"};
  const SourceFormat formats[] = {SourceFormat::kMessages, SourceFormat::kShareGpt,
                                  SourceFormat::kAlpaca, SourceFormat::kPromptCompletion};
  std::mt19937 random(20261124);
  int faults = 0, rows = 0;
  for (int round = 0; round < kRounds; ++round) {
    const size_t kind = random() % 4;
    const std::string line = Damaged(seeds[kind], &random);
    // A buffer of its own, so that a read behind the padding is seen.
    std::vector<char> buffer(line.size() + kJsonPadding);
    std::copy(line.begin(), line.end(), buffer.begin());
    const JsonlLine jsonl{.number = 1, .text = {buffer.data(), line.size()}};
    scratch.parser.Detect(jsonl.text);
    const TokenRow row = pipeline->Process(
        jsonl, {.index = round, .format = formats[kind], .keep_text = true}, &scratch);
    if (row.fault) {
      ++faults;
      EXPECT_FALSE(row.fault->code.empty());
      EXPECT_FALSE(row.fault->message.empty());
      EXPECT_LE(row.fault->column, static_cast<int64_t>(line.size()) + 1) << line;
      continue;
    }
    ++rows;
    const TokenExample& example = row.example;
    ASSERT_EQ(example.ids.size(), example.labels.size());
    ASSERT_LE(example.ids.size(), 256u);
    int64_t trained = 0;
    for (size_t i = 0; i < example.ids.size(); ++i) {
      ASSERT_TRUE(example.labels[i] == kIgnoreIndex || example.labels[i] == example.ids[i]);
      trained += example.labels[i] != kIgnoreIndex;
    }
    ASSERT_EQ(trained, example.span_tokens);
    ASSERT_EQ(row.left_out == LeftOut::kNo, row.num_targets > 0);
  }
  EXPECT_GT(faults, kRounds / 4);
  EXPECT_GT(rows, kRounds / 20);
}

TEST(RowMutationTest, ADamagedPairIsAFaultOrTwoExamplesThatHoldTogether) {
  const TempDir folder;
  v1::JobConfig config = BaseConfig(WriteByteTokenizer(folder, ""), "unused");
  config.mutable_preference();
  config.mutable_data()->set_max_length(60);
  const TextPipeline text = *OpenTextPipeline(config);
  const std::unique_ptr<ExamplePipeline> pipeline = *ExamplePipeline::Create(config, text);
  ExamplePipeline::Scratch scratch;
  const std::string seeds[] = {
      R"({"prompt":[{"role":"system","content":"s"},{"role":"user","content":"q é"}],)"
      R"("chosen":[{"role":"assistant","content":"a"}],"rejected":"b 😀"})",
      R"({"chosen":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}],)"
      R"("rejected":[{"role":"user","content":"q"},{"role":"assistant","content":"b"}],)"
      R"("prompt":"q"})",
      R"({"prompt":"q é","chosen":"a\n","rejected":"b<|im_end|>"})",
      R"({"chosen":"é is one","rejected":"é is two"})"};
  std::mt19937 random(20261130);
  int faults = 0, rows = 0;
  for (int round = 0; round < kRounds; ++round) {
    const std::string line = Damaged(seeds[random() % 4], &random);
    std::vector<char> buffer(line.size() + kJsonPadding);
    std::copy(line.begin(), line.end(), buffer.begin());
    const TokenRow row =
        pipeline->Process({.number = 1, .text = {buffer.data(), line.size()}},
                          {.index = round, .format = SourceFormat::kPreference}, &scratch);
    if (row.fault) {
      ++faults;
      EXPECT_FALSE(row.fault->code.empty() || row.fault->message.empty());
      EXPECT_FALSE(row.rejected.has_value());
      continue;
    }
    ++rows;
    ASSERT_TRUE(row.rejected.has_value()) << line;
    size_t shared = 0;
    for (const TokenizedText* answer : {static_cast<const TokenizedText*>(&row), &*row.rejected}) {
      const TokenExample& example = answer->example;
      ASSERT_EQ(example.index, round);
      ASSERT_EQ(example.ids.size(), example.labels.size());
      ASSERT_LE(example.ids.size(), 60u);
      // Nothing but the end is scored, from the same token on in both.
      size_t begin = 0;
      while (begin < example.ids.size() && example.labels[begin] == kIgnoreIndex) ++begin;
      for (size_t i = begin; i < example.ids.size(); ++i) {
        ASSERT_EQ(example.labels[i], example.ids[i]);
      }
      if (row.left_out != LeftOut::kNo) continue;
      ASSERT_GT(answer->num_targets, 0) << line;
      if (answer == &*row.rejected) {
        ASSERT_EQ(begin, shared) << line;
      }
      shared = begin;
    }
  }
  EXPECT_GT(faults, kRounds / 4);
  EXPECT_GT(rows, kRounds / 20);
}

}  // namespace
}  // namespace trainerd::engine
