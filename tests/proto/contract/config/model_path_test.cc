// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/config/model_path.h"

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

TEST(NoModelFolderTextTest, DoesNotTakeAnyPathForAnId) {
  const TempDir folder;
  EXPECT_THAT(NoModelFolderText(folder / "SmolLM2-135M"), Not(HasSubstr("hf download")))
      << "the folder that would be the owner exists";
  EXPECT_THAT(NoModelFolderText(folder / "my models/tiny"), Not(HasSubstr("hf download")));
  EXPECT_THAT(NoModelFolderText("/model"), Not(HasSubstr("hf download")));
}

}  // namespace
}  // namespace trainerd
