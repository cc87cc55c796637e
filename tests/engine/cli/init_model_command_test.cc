// SPDX-License-Identifier: Apache-2.0
#include "engine/cli/init_model_command.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "engine/model/config/model_config.h"
#include "tests/engine/train/tiny_run.h"

namespace trainerd::engine {
namespace {

using ::testing::HasSubstr;
using testing::ReadText;
using testing::WriteText;

TEST(InitModelTest, KeepsConfigurationAsItIsSpelledButForTheDtype) {
  TempDir folder;
  std::string config = ReadText(TRAINERD_SOURCE_DIR + "/tests/golden/tiny_model/config.json");
  config.insert(config.find('{') + 1,
                "\"unused\": [NaN, 1e999, 1000000000000000019884624838656], ");
  WriteText(folder / "config.json", config);
  const absl::Status made =
      InitModel({.config_path = folder / "config.json",
                 .output = folder / "model",
                 .tokenizer = TRAINERD_SOURCE_DIR + "/tests/golden/tiny_tokenizer",
                 .seed = 1,
                 .dtype = "bf16"});
  ASSERT_TRUE(made.ok()) << made;
  const std::string written = ReadText(folder / "model/config.json");
  EXPECT_THAT(written, HasSubstr("NaN,\n    1e999,\n    1000000000000000019884624838656\n"));
  EXPECT_THAT(written, HasSubstr("dtype\": \"bfloat16\""));
  EXPECT_TRUE(ReadModelConfig(folder / "model").ok());
}

}  // namespace
}  // namespace trainerd::engine
