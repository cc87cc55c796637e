// SPDX-License-Identifier: Apache-2.0
// Expectations: tests/golden/adapter/adapters.json holds what save_pretrained of PEFT wrote
// (make_adapter_goldens.py); the errors are for folders made wrong in one place.
#include "engine/model/adapter/adapter_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/engine/model/folder/tiny_folder.h"

namespace trainerd::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Json = nlohmann::json;

Json Golden(const std::string& name) {
  std::ifstream file(TRAINERD_SOURCE_DIR + "/tests/golden/" + name + ".json");
  return Json::parse(file);
}

class PeftGoldenTest : public ::testing::Test {
 protected:
  // The folder of a case as PEFT wrote it, with the values of StoredTensor.
  void Write(const Json& golden) {
    dir_.Write("adapter/adapter_config.json", golden["config"].dump());
    std::vector<StoredTensor> tensors;
    for (const auto& [name, shape] : golden["tensors"].items())
      tensors.push_back({name, shape.get<std::vector<int64_t>>()});
    WriteTensors(dir_ / "adapter/adapter_model.safetensors", tensors);
  }
  static ModelConfig Model(const Json& golden) {
    return *ParseModelConfig(Golden("model/" + golden["model"].get<std::string>())["config"].dump(),
                             "config.json");
  }

  TempDir dir_;
};

TEST_F(PeftGoldenTest, ReadsEveryFolder) {
  const Json golden = Golden("adapter/adapters");
  ASSERT_GE(golden["cases"].size(), 12u);
  for (const auto& [name, item] : golden["cases"].items()) {
    SCOPED_TRACE(name);
    Write(item);
    const auto folder = AdapterFolder::Open(dir_ / "adapter");
    ASSERT_TRUE(folder.ok()) << folder.status();
    const auto adapter = (*folder)->Resolve(Model(item), /*dropout=*/0.5);
    ASSERT_TRUE(adapter.ok()) << adapter.status();
    std::map<std::string, std::vector<int64_t>> ours, theirs = item["tensors"];
    for (const WeightSpec& spec : AdapterWeights(*adapter)) ours[spec.name] = spec.shape;
    std::erase_if(theirs, [](const auto& tensor) {
      return tensor.first.find("base_layer") != std::string::npos;
    });
    EXPECT_EQ(ours, theirs);
    EXPECT_EQ(adapter->rank, item["config"]["r"]);
    EXPECT_EQ(adapter->alpha, item["config"]["lora_alpha"]);
    EXPECT_EQ(adapter->rslora, item["config"]["use_rslora"]);
    EXPECT_EQ(adapter->dropout, 0.5);
  }
}

TEST_F(PeftGoldenTest, WritesTheValuesThatPeftWrites) {
  const Json golden = Golden("adapter/adapters");
  for (const auto& [name, item] : golden["cases"].items()) {
    SCOPED_TRACE(name);
    Write(item);
    const auto folder = AdapterFolder::Open(dir_ / "adapter");
    ASSERT_TRUE(folder.ok()) << folder.status();
    const AdapterSpec adapter = *(*folder)->Resolve(Model(item), item["config"]["lora_dropout"]);
    Json ours = Json::parse(PeftConfigJson(adapter, "base")), theirs = item["config"];
    EXPECT_EQ(ours["base_model_name_or_path"], "base");
    ours.erase("base_model_name_or_path");
    // The same layers by other names, and a start that the weights have left behind.
    if (item["config"]["target_modules"].is_string() || !theirs["exclude_modules"].is_null() ||
        !theirs["layers_to_transform"].is_null()) {
      for (const char* key : {"target_modules", "layers_to_transform", "layers_pattern"})
        ours.erase(key);
    } else {
      std::sort(ours["target_modules"].begin(), ours["target_modules"].end());
    }
    if (name == "gaussian") ours.erase("init_lora_weights");
    for (const auto& [key, value] : ours.items()) {
      ASSERT_TRUE(theirs.contains(key)) << key << " is no key of PEFT";
      EXPECT_EQ(value, theirs[key]) << key;
    }
  }
}

// FOLDER/adapter for q_proj and v_proj of the tiny Llama, r 2.
class AdapterFolderTest : public ::testing::Test {
 protected:
  AdapterFolderTest() {
    for (int layer = 0; layer < 2; ++layer) {
      const std::string prefix =
          absl::StrCat("base_model.model.model.layers.", layer, ".self_attn.");
      tensors_.push_back({prefix + "q_proj.lora_A.weight", {2, 8}});
      tensors_.push_back({prefix + "q_proj.lora_B.weight", {8, 2}});
      tensors_.push_back({prefix + "v_proj.lora_A.weight", {2, 8}});
      tensors_.push_back({prefix + "v_proj.lora_B.weight", {4, 2}});
    }
  }
  void Write() {
    dir_.Write("adapter/adapter_config.json", config_.dump());
    WriteTensors(dir_ / "adapter/adapter_model.safetensors", tensors_);
  }
  absl::StatusOr<AdapterSpec> Resolve() {
    Write();
    auto folder = AdapterFolder::Open(dir_ / "adapter");
    if (!folder.ok()) return folder.status();
    return (*folder)->Resolve(*ParseModelConfig(TinyConfig().dump(), "config.json"), 0.0);
  }
  std::string Error() {
    const absl::Status status = Resolve().status();
    EXPECT_FALSE(status.ok());
    return std::string(status.message());
  }

  TempDir dir_;
  Json config_ = {{"peft_type", "LORA"},
                  {"r", 2},
                  {"target_modules", {"q_proj", "v_proj"}},
                  {"base_model_name_or_path", "meta/Base"}};
  std::vector<StoredTensor> tensors_;
};

TEST_F(AdapterFolderTest, ReadsNamesWithTheAdaptersName) {
  ASSERT_TRUE(Resolve().ok()) << Resolve().status();
  for (StoredTensor& tensor : tensors_) {
    const size_t at = tensor.name.find(".weight");
    tensor.name.insert(at, ".default");
  }
  EXPECT_EQ(Resolve()->targets.size(), 4u) << "as older versions of PEFT and DeepSpeed save it";
  tensors_.push_back({"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight", {2, 8}});
  EXPECT_THAT(Error(), HasSubstr("q_proj.lora_A.weight\" twice"));
}

TEST_F(AdapterFolderTest, TakesTheLayersOfARegularExpressionFromTheFile) {
  config_["target_modules"] = R"(.*\.[qv]_proj)";
  EXPECT_THAT(Resolve()->target_modules, ElementsAre("q_proj", "v_proj"));
  tensors_.resize(6);
  EXPECT_THAT(Resolve()->target_modules, ElementsAre("q_proj", "model.layers.0.self_attn.v_proj"));
  tensors_.resize(5);
  EXPECT_THAT(Error(), HasSubstr("layers.1.self_attn.q_proj.lora_B.weight\" is missing"));
}

TEST_F(AdapterFolderTest, NamesWhatIsMissingOrUnexpected) {
  config_["target_modules"] = {"q_proj", "v_proj", "o_proj"};
  EXPECT_THAT(Error(), HasSubstr("has no matrices for 2 of the layers that \"target_modules\" of "
                                 "adapter_config.json names: model.layers.0.self_attn.o_proj, "));
  config_["target_modules"] = {"q_proj"};
  EXPECT_THAT(Error(), HasSubstr("does not name: model.layers.0.self_attn.v_proj, "
                                 "model.layers.1.self_attn.v_proj; use the model that the adapter "
                                 "was trained on; the adapter is of meta/Base"));
  config_["target_modules"] = {"q_proj", "v_proj"};
  tensors_.push_back({"base_model.model.model.layers.2.self_attn.v_proj.lora_A.weight", {2, 8}});
  EXPECT_THAT(Error(), HasSubstr("model.layers.2.self_attn.v_proj"));
  tensors_.back() = {"base_model.model.lm_head.modules_to_save.weight", {259, 8}};
  EXPECT_THAT(Error(), HasSubstr("1 tensor is no part of a LoRA adapter"));
  tensors_.back() = {"model.layers.0.self_attn.q_proj.lora_A.weight", {2, 8}};
  EXPECT_THAT(Error(), HasSubstr("the names must be like base_model.model."));
  tensors_.clear();
  EXPECT_THAT(Error(), HasSubstr("has no matrices for 4 of the layers"));
}

TEST_F(AdapterFolderTest, RefusesAnAdapterOfAnotherModel) {
  tensors_[0].shape = {2, 16};
  EXPECT_THAT(Error(), HasSubstr("q_proj.lora_A.weight\" has shape [2, 16], and the model with "
                                 "\"r\": 2 requires [2, 8]; use the model that the adapter was "
                                 "trained on; the adapter is of meta/Base"));
  tensors_[0].shape = {2, 8};
  config_["r"] = 4;
  EXPECT_THAT(Error(), HasSubstr("\"r\": 4 requires [4, 8]"));
}

TEST_F(AdapterFolderTest, RefusesDamagedValues) {
  tensors_[3].value = std::numeric_limits<float>::infinity();
  EXPECT_THAT(Error(), HasSubstr("v_proj.lora_B.weight\" holds NaN or infinity (first at element "
                                 "0"));
  tensors_[3].value = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT(Error(), HasSubstr("so the adapter is damaged"));
}

TEST_F(AdapterFolderTest, ComparesCopiesOfTheModelsWeights) {
  const std::string path = WriteTinyFolder(dir_, "");
  const auto weights = *HfFolder::Open(path);
  const auto check = [&](const std::string& name, float value, int64_t rows) {
    tensors_.push_back({name, {rows, 8}, value});
    Write();
    tensors_.pop_back();
    return (*AdapterFolder::Open(dir_ / "adapter"))->CheckModelCopies(*weights);
  };
  const std::string embedding = "base_model.model.model.embed_tokens.base_layer.weight";
  EXPECT_TRUE(check(embedding, 0.5F, 259).ok());
  EXPECT_TRUE(check("base_model.model.lm_head.base_layer.weight", 0.5F, 259).ok())
      << "the head of a tied model is its embedding";
  EXPECT_TRUE(check("base_model.model.model.embed_tokens.weight", 0.5F, 259).ok());
  EXPECT_THAT(check(embedding, 0.25F, 259).message(),
              HasSubstr("differs from model.embed_tokens.weight of " + path));
  EXPECT_FALSE(check(embedding, 0.5F, 260).ok()) << "the vocabulary was extended";
}

TEST_F(AdapterFolderTest, ExplainsMissingFiles) {
  Write();
  const auto error = [&](const std::string& folder) {
    return std::string(AdapterFolder::Open(dir_ / folder).status().message());
  };
  EXPECT_THAT(error("absent"), HasSubstr("no such folder"));
  EXPECT_THAT(error("adapter/adapter_config.json"), HasSubstr("is not a folder"));
  std::filesystem::create_directory(dir_ / "output");
  std::filesystem::rename(dir_ / "adapter", dir_ / "output/checkpoint-8");
  EXPECT_THAT(error("output"), HasSubstr("output has no adapter_config.json; use " +
                                         (dir_ / "output/checkpoint-8") + ", which has one"));
  const std::string model = WriteTinyFolder(dir_, "");
  EXPECT_THAT(error("model"), HasSubstr("it is a whole model: set model.path to it"));
  std::filesystem::rename(dir_ / "output/checkpoint-8/adapter_model.safetensors",
                          dir_ / "output/checkpoint-8/adapter_model.bin");
  EXPECT_THAT(error("output/checkpoint-8"),
              HasSubstr("has no adapter_model.safetensors; adapter_model.bin is not read"));
  dir_.Write("pointer/adapter_config.json",
             "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 700\n");
  dir_.Write("pointer/adapter_model.safetensors", "version https://git-lfs.github.com/spec/v1\n");
  EXPECT_THAT(error("pointer"), HasSubstr("Git LFS"));
}

}  // namespace
}  // namespace trainerd::engine
