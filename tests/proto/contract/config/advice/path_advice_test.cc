// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/config/advice/path_advice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/temp_dir.h"

namespace trainerd {
namespace {

using ::testing::HasSubstr;

TEST(PathAdviceTest, FindsAUrlThatWasMadeAbsolute) {
  EXPECT_EQ(UrlInPath("/jobs/https:/huggingface.co/Qwen/Qwen3-0.6B"),
            "https://huggingface.co/Qwen/Qwen3-0.6B");
  EXPECT_EQ(UrlInPath("s3:/bucket/a.jsonl"), "s3://bucket/a.jsonl");
  EXPECT_EQ(UrlInPath("/jobs/a:b/c"), "");
  EXPECT_EQ(UrlInPath("/jobs/C:/models"), "") << "a drive";
  EXPECT_EQ(UrlInPath("/jobs/my models:/x"), "");
}

TEST(PathAdviceTest, NamesWhatIsProbablyWrong) {
  const TempDir dir;
  dir.Write("chat.jsonl", "{}\n");
  dir.Write("other.jsonl", "{}\n");
  EXPECT_THAT(MissingPathAdvice(dir / "https:/x.org/a.jsonl"),
              HasSubstr("https://x.org/a.jsonl is a URL"));
  EXPECT_THAT(MissingPathAdvice(dir / "*.jsonl"), HasSubstr("list the files"));
  EXPECT_THAT(MissingPathAdvice(dir / "$HOME/a.jsonl"), HasSubstr("begin it with ~/"));
  EXPECT_EQ(MissingPathAdvice(dir / "caht.jsonl"), "did you mean \"chat.jsonl\"?");
  EXPECT_EQ(MissingPathAdvice(dir / "Chat.jsonl"), "did you mean \"chat.jsonl\"?");
  EXPECT_EQ(MissingPathAdvice(dir / "validation_set_of_2024.jsonl"), "");
  EXPECT_EQ(MissingPathAdvice(dir / "absent/chat.jsonl"), "");
}

}  // namespace
}  // namespace trainerd
