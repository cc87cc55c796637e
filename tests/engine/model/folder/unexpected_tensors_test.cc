// SPDX-License-Identifier: Apache-2.0
// transformers 5.23.0 reports unexpected keys and drops them, but for rotary_emb.inv_freq
// (PreTrainedModel._adjust_missing_and_unexpected_keys). Here a dropped part of the decoder is an
// error.
#include "engine/model/folder/unexpected_tensors.h"

#include <gmock/gmock.h>

#include "tests/engine/model/folder/tiny_folder.h"

namespace trainerd::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class UnexpectedTensorsTest : public ::testing::Test {
 protected:
  // Of a folder that holds the tensors of the model and `more`.
  UnexpectedTensors Find(const std::vector<std::string>& more) const {
    std::vector<std::string> names;
    for (const WeightSpec& spec : WeightsOf(config_)) names.push_back(spec.name);
    names.insert(names.end(), more.begin(), more.end());
    return FindUnexpectedTensors(names, config_);
  }
  std::string Message(const std::vector<std::string>& more) const {
    const absl::Status status = RefusedTensorsStatus(Find(more), config_, "some/model");
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    return std::string(status.message());
  }
  const ModelConfig config_ = *ParseModelConfig(TinyConfig().dump(), "config.json");
};

TEST_F(UnexpectedTensorsTest, SkipsInvFreqBuffersAndTheTiedHead) {
  const UnexpectedTensors found =
      Find({"lm_head.weight", "model.layers.0.self_attn.rotary_emb.inv_freq",
            "model.rotary_emb.inv_freq"});
  EXPECT_THAT(found.refused, IsEmpty());
  EXPECT_THAT(found.ignored, IsEmpty());
  EXPECT_TRUE(RefusedTensorsStatus(found, config_, "x").ok());
}

TEST_F(UnexpectedTensorsTest, RefusesBiasesAndNormsOfTheDecoder) {
  EXPECT_THAT(Find({"lm_head.bias", "model.layers.1.mlp.down_proj.bias", "model.norm.bias",
                    "model.layers.0.self_attn.q_norm.weight"})
                  .refused,
              ElementsAre("lm_head.bias", "model.layers.1.mlp.down_proj.bias", "model.norm.bias",
                          "model.layers.0.self_attn.q_norm.weight"));
  EXPECT_THAT(Message({"model.layers.1.mlp.down_proj.bias"}),
              AllOf(HasSubstr("some/model: 1 tensor is not part"),
                    HasSubstr("model.layers.1.mlp.down_proj.bias"),
                    HasSubstr("use the config.json that belongs to these weights")));
}

TEST_F(UnexpectedTensorsTest, NamesTheNumberOfLayersThatTheFilesHave) {
  EXPECT_THAT(Message({"model.layers.2.mlp.up_proj.weight", "model.layers.3.mlp.up_proj.weight"}),
              HasSubstr("set \"num_hidden_layers\": 4 instead of 2 in config.json"));
}

TEST_F(UnexpectedTensorsTest, ListsFiveAndCountsTheRest) {
  std::vector<std::string> biases;
  for (int i = 0; i < 7; ++i) biases.push_back("model.layers.0.x" + std::to_string(i) + ".bias");
  EXPECT_THAT(Message(biases), HasSubstr("x4.bias and 2 more"));
}

TEST_F(UnexpectedTensorsTest, ReportsHeadsOfOtherModels) {
  const UnexpectedTensors found = Find(
      {"score.weight", "v_head.summary.bias", "model.layers.0.self_attn.rotary_emb.cos_cached"});
  EXPECT_THAT(found.refused, IsEmpty());
  EXPECT_THAT(found.ignored, ElementsAre("score.weight", "v_head.summary.bias",
                                         "model.layers.0.self_attn.rotary_emb.cos_cached"));
  EXPECT_THAT(IgnoredTensorsText(found, "some/model"),
              AllOf(HasSubstr("3 tensors"), HasSubstr("score.weight")));
}

}  // namespace
}  // namespace trainerd::engine
