// SPDX-License-Identifier: Apache-2.0
// When a generation ends, and invalid prompts. decoder_test.cc compares the tokens.
#include "engine/model/generate.h"

#include <gmock/gmock.h>

#include "tests/engine/model/golden_model.h"

namespace trainerd::engine {
namespace {

class GenerateTest : public ::testing::Test {
 protected:
  TempDir dir_;
  nlohmann::json golden_ = golden::Read("qwen3");
  std::unique_ptr<ParameterSet> parameters_ = golden::Load(golden_, Precision::kFp32, dir_.path());
  Decoder decoder_{golden::Config(golden_), *parameters_};
  std::vector<int32_t> prompt_ = golden_["prompt"].get<std::vector<int32_t>>();
  std::vector<int32_t> expected_ = golden_["generated"].get<std::vector<int32_t>>();
};

TEST_F(GenerateTest, StopsBeforeAStopToken) {
  const auto at = std::find(expected_.begin(), expected_.end(), expected_[3]);
  const auto result =
      GenerateGreedy(decoder_, prompt_, {.max_tokens = 12, .stop_ids = {96, expected_[3]}});
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(*result, std::vector<int32_t>(expected_.begin(), at));
}

TEST_F(GenerateTest, StopsAtTheLastPositionOfTheModel) {
  const std::vector<int32_t> prompt(250, 3);
  const auto result = GenerateGreedy(decoder_, prompt, {.max_tokens = 100});
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->size(), 6u);
}

TEST_F(GenerateTest, RejectsInvalidPromptsAndCancels) {
  EXPECT_EQ(GenerateGreedy(decoder_, {}, {}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(GenerateGreedy(decoder_, {1, 97}, {}).status().message()),
              ::testing::HasSubstr("97"));
  EXPECT_EQ(GenerateGreedy(decoder_, std::vector<int32_t>(256, 1), {}).status().code(),
            absl::StatusCode::kInvalidArgument);
  int calls = 0;
  EXPECT_EQ(GenerateGreedy(decoder_, prompt_,
                           {.max_tokens = 12, .cancelled = [&] { return ++calls > 2; }})
                .status()
                .code(),
            absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace trainerd::engine
