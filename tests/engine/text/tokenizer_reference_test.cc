// SPDX-License-Identifier: Apache-2.0
// Compares with PyPI tokenizers, in the same run, on generated texts: 100,000 in all over the
// families of tests/golden/text, and the Qwen3 and SmolLM2 tokenizers where they are.
#include "engine/text/tokenizer.h"
#include "gtest/gtest.h"
#include "tests/engine/text/reference_python.h"

namespace trainerd::engine {
namespace {

using ::trainerd::testing::FrameReader;
using ::trainerd::testing::ReferencePython;
using ::trainerd::testing::RunReference;
using ::trainerd::testing::TempFolder;

void Compare(const std::string& folder, int count, int seed) {
  const auto tokenizer = Tokenizer::Load(folder);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  TempFolder temp;
  const std::string path = temp.path() + "/frames";
  ASSERT_TRUE(RunReference("reference_ids.py",
                           {folder, std::to_string(count), std::to_string(seed), path}));
  FrameReader frames(path);
  std::string text, raw_ids, decoded;
  int compared = 0, different = 0;
  Encoding encoding;
  while (frames.Next(&text) && frames.Next(&raw_ids) && frames.Next(&decoded)) {
    ASSERT_TRUE((*tokenizer)->Encode(text, &encoding).ok());
    std::vector<int32_t> ids(raw_ids.size() / 4);
    std::memcpy(ids.data(), raw_ids.data(), raw_ids.size());
    const bool same = encoding.ids == ids && (*tokenizer)->Decode(ids) == decoded;
    if (!same && ++different <= 5)
      ADD_FAILURE() << folder << " differs on: " << text.substr(0, 500);
    ++compared;
  }
  EXPECT_GE(compared, count);
  EXPECT_EQ(different, 0);
}

class TokenizerReferenceTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (ReferencePython().empty()) {
      GTEST_SKIP() << "no reference packages: run deploy/install_dependencies.sh for tests";
    }
  }
};

TEST_P(TokenizerReferenceTest, AgreesOnGeneratedTexts) {
  Compare(TRAINERD_SOURCE_DIR + "/tests/golden/text/tokenizers/" + GetParam(), 10'000, 11);
}

INSTANTIATE_TEST_SUITE_P(Families, TokenizerReferenceTest,
                         ::testing::Values("gpt2", "gpt2_prefix", "smollm2", "qwen3", "llama3",
                                           "nemo", "o200k", "qwen35"));

TEST_F(TokenizerReferenceTest, AgreesForQwen3) {
  const std::string folder = ::trainerd::testing::SharedDir() + "/models/qwen3-tokenizer";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << folder << " is not there";
  Compare(folder, 20'000, 12);
}

TEST_F(TokenizerReferenceTest, AgreesForSmolLm2) {
  const std::string python = ReferencePython();
  const std::string cache = python.substr(0, python.rfind("/venv-tests"));
  const std::string folder = cache + "/models/SmolLM2-135M-Instruct";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << folder << " is not there";
  Compare(folder, 20'000, 13);
  EXPECT_EQ((*Tokenizer::Load(folder))->unspellable_bytes(), 21);
}

}  // namespace
}  // namespace trainerd::engine
