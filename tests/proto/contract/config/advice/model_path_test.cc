// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/config/advice/model_path.h"

#include <gmock/gmock.h>

#include <filesystem>

#include "tests/temp_dir.h"

namespace trainerd {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(NoModelFolderTextTest, HasTheDownloadCommandForAHubId) {
  const TempDir folder;
  const std::string path = folder / "Qwen/Qwen3-0.6B";
  EXPECT_THAT(NoModelFolderText(path),
              AllOf(HasSubstr("no such folder: " + path),
                    HasSubstr("hf download Qwen/Qwen3-0.6B --local-dir " + path)));
}

TEST(NoModelFolderTextTest, QuotesAPathForTheShell) {
  const TempDir folder;
  std::filesystem::create_directory(folder / "my models");
  EXPECT_THAT(NoModelFolderText(folder / "my models/Qwen/Qwen3-0.6B"),
              HasSubstr(" --local-dir '" + (folder / "my models/Qwen/Qwen3-0.6B") + "'"));
}

TEST(NoModelFolderTextTest, NamesTheDownloadOfAUrl) {
  const TempDir folder;
  EXPECT_THAT(NoModelFolderText(folder / "https:/huggingface.co/Qwen/Qwen3-0.6B/tree/main"),
              HasSubstr("(hf download Qwen/Qwen3-0.6B --local-dir Qwen3-0.6B) and set model.path"));
  EXPECT_THAT(
      NoModelFolderText(folder / "https:/x.org/Qwen/Qwen3-0.6B"),
      AllOf(HasSubstr("https://x.org/Qwen/Qwen3-0.6B is a URL"), Not(HasSubstr("hf download"))));
}

TEST(NoModelFolderTextTest, NamesTheFolderOfAFile) {
  const TempDir folder;
  const std::string file = folder.Write("model.safetensors", "x");
  EXPECT_EQ(NoModelFolderText(file),
            "not a folder: " + file +
                "; set model.path to the folder of a Hugging Face model, for "
                "example " +
                folder.path());
}

TEST(NoModelFolderTextTest, SuggestsASimilarName) {
  const TempDir folder;
  std::filesystem::create_directory(folder / "SmolLM2-135M");
  EXPECT_THAT(NoModelFolderText(folder / "SmolLM-135M"),
              HasSubstr("did you mean \"SmolLM2-135M\"?"));
}

TEST(NoModelFolderTextTest, DoesNotTakeAnyPathForAnId) {
  const TempDir folder;
  EXPECT_THAT(NoModelFolderText(folder / "SmolLM2-135M"), Not(HasSubstr("hf download")))
      << "the folder that would be the owner exists";
  EXPECT_THAT(NoModelFolderText(folder / "my models/tiny"), Not(HasSubstr("hf download")));
  EXPECT_THAT(NoModelFolderText("/model"), Not(HasSubstr("hf download")));
}

}  // namespace
}  // namespace trainerd
