// SPDX-License-Identifier: Apache-2.0
#include "engine/data/token_range.h"

#include <gmock/gmock.h>

#include "tests/engine/data/test_data.h"

namespace trainerd::engine {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(CheckTokenRangeTest, NamesConversationAndToken) {
  const TempDir folder;
  const std::string model = WriteByteTokenizer(folder, "");
  const v1::JobConfig config =
      BaseConfig(model, folder.Write("train.jsonl", Row("a", "b") + Row("c", "d <|endoftext|>")));
  const TextPipeline text = *OpenTextPipeline(config);
  const PreparedData data = *PrepareData(config, text, nullptr);
  EXPECT_TRUE(CheckTokenRange(data, *text.tokenizer, 259).ok());
  // ChatML's end of turn, id 258, is in both; the other control tokens have lower ids.
  const absl::Status status = CheckTokenRange(data, *text.tokenizer, 258);
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(
      std::string(status.message()),
      AllOf(HasSubstr("conversation 0 (counted from 0)"),
            HasSubstr("the token \"<|im_end|>\" (id 258), which has no row in the embedding "
                      "of 258 rows")));
}

}  // namespace
}  // namespace trainerd::engine
