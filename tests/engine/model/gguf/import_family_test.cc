// SPDX-License-Identifier: Apache-2.0
// What the families make of it is in import_model_test.cc; here are the values that a file omits.
#include "engine/model/gguf/import_family.h"

#include <gmock/gmock.h>

namespace trainerd::engine {
namespace {

using ::testing::HasSubstr;

class ImportFamilyKeysTest : public ::testing::Test {
 protected:
  nlohmann::ordered_json Keys(std::string_view architecture, const ImportedSizes& sizes) {
    ArchitectureKeys keys(metadata_, std::string(architecture) + ".");
    nlohmann::ordered_json config = nlohmann::ordered_json::object();
    const absl::Status status =
        AddFamilyKeys(*FindImportedArchitecture(architecture), sizes, {}, keys, config);
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_TRUE(keys.CheckAllRead().ok()) << keys.CheckAllRead();
    return config;
  }
  void Add(const char* key, GgufValue value) { EXPECT_TRUE(metadata_.Add(key, value).ok()); }
  GgufMetadata metadata_;
};

TEST_F(ImportFamilyKeysTest, AssumesWhatLlamaCppAssumes) {
  const ImportedSizes sizes{.hidden = 64, .layers = 3, .heads = 2, .head_dim = 16};
  Add("gemma2.attention.sliding_window", uint64_t{9});
  const auto gemma2 = Keys("gemma2", sizes);
  EXPECT_EQ(gemma2["attn_logit_softcapping"], 50.0);
  EXPECT_EQ(gemma2["final_logit_softcapping"], 30.0);
  EXPECT_EQ(gemma2["query_pre_attn_scalar"], 16);
  EXPECT_EQ(gemma2["layer_types"].dump(),
            R"(["sliding_attention","full_attention","sliding_attention"])");
  const auto gemma3 = Keys("gemma3", sizes);
  EXPECT_TRUE(gemma3["final_logit_softcapping"].is_null());
  EXPECT_EQ(gemma3["rope_local_base_freq"], 10'000.0);
  EXPECT_TRUE(gemma3["sliding_window"].is_null());
}

// The 27B models divide attention scores by the root of hidden size / heads.
TEST_F(ImportFamilyKeysTest, KnowsTheLargestModels) {
  const ImportedSizes sizes{.hidden = 4608, .layers = 46, .heads = 32, .head_dim = 128};
  EXPECT_EQ(Keys("gemma2", sizes)["query_pre_attn_scalar"], 144);
}

TEST_F(ImportFamilyKeysTest, WritesAFactorThatGivesTheRotatedElements) {
  for (int64_t head_dim = 2; head_dim <= 256; head_dim += 2) {
    for (int64_t rotated = 2; rotated <= head_dim; rotated += 2) {
      const double factor =
          Keys("phi3", {.head_dim = head_dim, .rotary_dim = rotated}).at("partial_rotary_factor");
      EXPECT_EQ(static_cast<int64_t>(factor * static_cast<double>(head_dim)), rotated);
    }
  }
}

TEST_F(ImportFamilyKeysTest, RefusesWhatNoKeyHolds) {
  Add("qwen2.expert_count", uint64_t{8});
  Add("qwen2.attention.scale", 0.0);
  ArchitectureKeys keys(metadata_, "qwen2.");
  EXPECT_THAT(std::string(keys.CheckAllRead().message()),
              HasSubstr("qwen2.expert_count 8 is not supported"));
  EXPECT_TRUE(keys.Count("expert_count").ok());
  EXPECT_TRUE(keys.CheckAllRead().ok());
}

TEST(ShortestDoubleTest, HasFewDigits) {
  EXPECT_EQ(ShortestDouble(static_cast<double>(1e-5F)), 1e-5);
  EXPECT_EQ(ShortestDouble(static_cast<double>(0.3F)), 0.3);
}

}  // namespace
}  // namespace trainerd::engine
