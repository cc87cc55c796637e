// SPDX-License-Identifier: Apache-2.0
// Files as transformers 5.23.0 writes them. tests/integration/training/stop_token_test.py runs its
// generate.
#include "engine/model/config/generation_config.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "tests/temp_dir.h"

namespace trainerd::engine {
namespace {

using ::testing::ElementsAre;
using Json = nlohmann::json;

class GenerationConfigTest : public ::testing::Test {
 protected:
  GenerationConfigTest() { dir_.Write("config.json", R"({"eos_token_id": 2, "bos_token_id": 1})"); }
  Json With(int32_t id) const {
    const auto text = GenerationConfigWith(dir_.path(), id);
    EXPECT_TRUE(text.ok()) << text.status();
    return text->empty() ? Json() : Json::parse(*text);
  }
  const TempDir dir_;
};

TEST_F(GenerationConfigTest, MakesAFileFromTheModelsConfiguration) {
  EXPECT_EQ(With(7), Json({{"bos_token_id", 1}, {"eos_token_id", {2, 7}}}));
  EXPECT_EQ(With(2), Json({{"bos_token_id", 1}, {"eos_token_id", 2}}));
  dir_.Write("config.json", R"({"eos_token_id": null})");
  EXPECT_EQ(With(7), Json({{"eos_token_id", 7}}));
}

TEST_F(GenerationConfigTest, KeepsTheOtherSettings) {
  dir_.Write("generation_config.json", R"({"eos_token_id": [2, 3], "temperature": 0.6})");
  EXPECT_EQ(With(7), Json({{"eos_token_id", {2, 3, 7}}, {"temperature", 0.6}}));
  EXPECT_EQ(With(3), Json()) << "the file has the id already";
  dir_.Write("generation_config.json", R"({"do_sample": true})");
  EXPECT_EQ(With(7), Json({{"do_sample", true}, {"eos_token_id", 7}}));
  dir_.Write("generation_config.json", "[]");
  EXPECT_TRUE(absl::IsInvalidArgument(GenerationConfigWith(dir_.path(), 7).status()));
}

TEST_F(GenerationConfigTest, KeepsOddNumbersAsTheyAreSpelled) {
  dir_.Write(
      "generation_config.json",
      R"({"eos_token_id": 2, "temperature": NaN, "max_length": 1000000000000000019884624838656})");
  const auto text = GenerationConfigWith(dir_.path(), 7);
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_NE(text->find("\"temperature\": NaN,"), std::string::npos) << *text;
  EXPECT_NE(text->find("\"max_length\": 1000000000000000019884624838656"), std::string::npos)
      << *text;
  dir_.Write("generation_config.json", R"({"eos_token_id": [2, 1e999]})");
  EXPECT_NE(GenerationConfigWith(dir_.path(), 7)
                .status()
                .message()
                .find("\"eos_token_id\" has the value 1e999; it must be a token id"),
            std::string::npos);
}

TEST_F(GenerationConfigTest, ListsTheIdsOfBothFiles) {
  EXPECT_THAT(*EosIdsOf(dir_.path()), ElementsAre(2));
  dir_.Write("generation_config.json", R"({"eos_token_id": [3, 2, -1, 99999999999]})");
  EXPECT_THAT(*EosIdsOf(dir_.path()), ElementsAre(3, 2));
  dir_.Write("generation_config.json", R"({"eos_token_id": 1e999})");
  const absl::Status status = EosIdsOf(dir_.path()).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("\"eos_token_id\""));
}

}  // namespace
}  // namespace trainerd::engine
