// SPDX-License-Identifier: Apache-2.0
// Names, layouts and faults of folders of vision-language models. The names are those that
// transformers 4 and 5 write (conversion_mapping.py, "Qwen2VLForConditionalGeneration").
#include <gmock/gmock.h>

#include "engine/model/folder/hf_folder.h"
#include "engine/model/folder/kept_tensors.h"
#include "engine/model/folder/model_files.h"
#include "engine/model/folder/unexpected_tensors.h"
#include "tests/engine/model/folder/tiny_folder.h"

namespace trainerd::engine {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

nlohmann::json Config() {
  nlohmann::json text = TinyConfig();
  text["model_type"] = "qwen2_5_vl_text";
  return {{"model_type", "qwen2_5_vl"},
          {"architectures", {"Qwen2_5_VLForConditionalGeneration"}},
          {"tie_word_embeddings", true},
          {"text_config", text},
          {"vision_config", nlohmann::json::object()}};
}

class VisionPartTest : public ::testing::Test {
 protected:
  std::unique_ptr<HfFolder> Open(const std::vector<StoredTensor>& tensors) {
    WriteTensors(dir_ / "model.safetensors", tensors);
    auto folder = HfFolder::Open(dir_.path(), config_.names);
    EXPECT_TRUE(folder.ok()) << folder.status();
    return *std::move(folder);
  }
  // With another name for each tensor of the decoder.
  std::vector<StoredTensor> Renamed(const std::string& decoder) const {
    std::vector<StoredTensor> tensors = TensorsOf(Config());
    for (StoredTensor& tensor : tensors)
      tensor.name = decoder + tensor.name.substr(std::string("model.language_model").size());
    return tensors;
  }
  const TempDir dir_;
  ModelConfig config_ = *ParseModelConfig(Config().dump(), "config.json");
};

TEST_F(VisionPartTest, ReadsBothLayouts) {
  for (const bool is_older : {false, true}) {
    std::vector<StoredTensor> tensors = Renamed(is_older ? "model" : "model.language_model");
    tensors.push_back({is_older ? "visual.merger.weight" : "model.visual.merger.weight", {3, 2}});
    tensors.push_back({"lm_head.weight", {259, 8}});
    const auto folder = Open(tensors);
    const std::string norm = "model.language_model.norm.weight";
    EXPECT_TRUE(folder->CheckComplete(config_).ok()) << folder->CheckComplete(config_);
    EXPECT_EQ(folder->NameInFiles(norm), is_older ? "model.norm.weight" : norm);
    EXPECT_EQ(folder->NameInFiles("lm_head.weight"), "lm_head.weight");
    EXPECT_EQ(folder->Find(norm)->name, folder->NameInFiles(norm));
    EXPECT_FALSE(folder->MatchHead(HeadCheck::kAll, config_));
    const UnexpectedTensors unexpected = FindUnexpectedTensors(folder->Names(), config_);
    EXPECT_THAT(unexpected.refused, ElementsAre());
    EXPECT_THAT(unexpected.ignored, ElementsAre());
    const auto kept = *KeptTensors::Open(*folder);
    ASSERT_EQ(kept->tensors().size(), 1U);
    EXPECT_EQ(kept->tensors()[0].name,
              is_older ? "visual.merger.weight" : "model.visual.merger.weight");
  }
}

TEST_F(VisionPartTest, RefusesUnknownTensorsOfTheDecoder) {
  std::vector<StoredTensor> tensors = Renamed("model");
  tensors.push_back({"visual.merger.weight", {3}});
  tensors.push_back({"model.layers.7.self_attn.q_proj.weight", {8, 8}});
  EXPECT_THAT(FindUnexpectedTensors(Open(tensors)->Names(), config_).refused,
              ElementsAre("model.language_model.layers.7.self_attn.q_proj.weight"));
  EXPECT_EQ(LayerOf("model.language_model.layers.7.self_attn.q_proj.weight"), 7);
}

TEST_F(VisionPartTest, RefusesATensorInBothLayouts) {
  std::vector<StoredTensor> tensors = Renamed("model");
  tensors.push_back({"visual.merger.weight", {3}});
  tensors.push_back({"model.visual.merger.weight", {3}});
  WriteTensors(dir_ / "model.safetensors", tensors);
  const auto folder = HfFolder::Open(dir_.path(), config_.names);
  EXPECT_EQ(folder.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(folder.status().message()), HasSubstr("visual.merger.weight"));
}

TEST_F(VisionPartTest, RefusesAFolderWithoutVisionPart) {
  const absl::Status status = Open(Renamed("model.language_model"))->CheckComplete(config_);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("no tensor model.visual.*"), HasSubstr("download all files")));
}

TEST_F(VisionPartTest, TextModelsHaveNone) {
  const auto folder = Open(Renamed("model"));
  EXPECT_THAT(HfFolder::Open(dir_.path()).value()->VisionTensors(), ElementsAre());
  EXPECT_EQ(HfFolder::Open(dir_.path()).value()->NameInFiles("model.norm.weight"),
            "model.norm.weight");
}

TEST_F(VisionPartTest, ModelFilesAreAlsoThoseOfTheProcessor) {
  for (const char* name : {"config.json", "preprocessor_config.json", "chat_template.json",
                           "video_preprocessor_config.json", "processor_config.json", "merges.txt",
                           "vocab.json", "other.json"})
    dir_.Write(name, "{}");
  EXPECT_THAT(ModelFiles(dir_.path()), ::testing::UnorderedElementsAre(
                                           "config.json", "preprocessor_config.json",
                                           "chat_template.json", "video_preprocessor_config.json",
                                           "processor_config.json", "merges.txt", "vocab.json"));
}

}  // namespace
}  // namespace trainerd::engine
