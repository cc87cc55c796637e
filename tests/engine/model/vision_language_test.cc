// SPDX-License-Identifier: Apache-2.0
// Vision-language models: the vision part comes through training into model files byte for byte, in
// the layout of the source, whatever else happens to the model. The numbers of the language model
// are compared with transformers in decoder_test.cc.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "absl/strings/match.h"
#include "engine/model/decoder.h"
#include "engine/model/folder/checkpoint_size.h"
#include "engine/model/folder/freeze.h"
#include "engine/model/model_writer.h"
#include "tests/engine/model/golden_model.h"

namespace trainerd::engine {
namespace {

using ::testing::HasSubstr;

std::vector<std::string> WeightFiles(const std::string& folder) {
  std::vector<std::string> paths;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".safetensors") paths.push_back(entry.path().string());
  }
  return paths;
}

// Name in the files → bytes.
std::map<std::string, std::string> Stored(const std::string& folder) {
  std::map<std::string, std::string> tensors;
  for (const std::string& path : WeightFiles(folder)) {
    const auto file = *SafetensorsFile::Open(path);
    for (const TensorInfo& info : file->tensors()) tensors[info.name] = file->Bytes(info);
  }
  return tensors;
}

std::string OlderName(const std::string& name) {
  for (const auto& [prefix, older] :
       {std::pair("model.visual.", "visual."), std::pair("model.language_model.", "model.")}) {
    if (name.rfind(prefix, 0) == 0) return older + name.substr(std::string(prefix).size());
  }
  return name;
}

bool IsOfVisionPart(const std::string& name) { return OlderName(name).rfind("visual.", 0) == 0; }

struct Case {
  std::string model;
  bool is_older = false;
  int shards = 1;
};

class VisionLanguageTest : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    golden_ = golden::Read(GetParam().model);
    config_ = golden::Config(golden_);
    golden::WriteFile(source_ / "config.json", golden_["config"].dump());
    const auto tensors = golden::Tensors(golden_);
    const auto rename = [](const std::string& name) {
      return GetParam().is_older ? OlderName(name) : name;
    };
    if (GetParam().shards == 1)
      return golden::WriteTensors(tensors, source_ / "model.safetensors", rename);
    // Tensor i is in shard i % shards.
    nlohmann::json map;
    for (int shard = 0; shard < GetParam().shards; ++shard) {
      std::vector<SafetensorsWriter::Declared> part;
      const std::string name = "part-" + std::to_string(shard) + ".safetensors";
      for (size_t i = 0; i < tensors.size(); ++i) {
        if (i % static_cast<size_t>(GetParam().shards) != static_cast<size_t>(shard)) continue;
        part.push_back(tensors[i]);
        map[rename(tensors[i].name)] = name;
      }
      golden::WriteTensors(part, source_ / name, rename);
    }
    golden::WriteFile(source_ / "model.safetensors.index.json",
                      nlohmann::json{{"weight_map", map}}.dump());
  }

  std::unique_ptr<ParameterSet> Load(Precision precision, const AdapterSpec* adapter = nullptr,
                                     Quantization quantization = Quantization::kNone) {
    const auto folder = HfFolder::Open(source_.path(), config_.names);
    EXPECT_TRUE(folder.ok()) << folder.status();
    auto parameters =
        ParameterSet::Create(config_, precision, testing::TestDevice(), {}, adapter, quantization);
    EXPECT_TRUE(parameters.ok()) << parameters.status();
    const absl::Status loaded = (*parameters)->Load(**folder);
    EXPECT_TRUE(loaded.ok()) << loaded;
    return *std::move(parameters);
  }
  void Step(ParameterSet& parameters) {
    Decoder decoder(config_, parameters);
    decoder.ForwardBackward(ToDevice(golden::Pack(golden_, {0, 1}), testing::TestDevice()), 0.1);
    for (const Parameter& parameter : parameters.parameters()) {
      if (parameter.trains()) parameter.master.sub_(parameter.grad.sign(), 0.1);
    }
    parameters.PublishCompute();
  }
  // The written files have the source's tensors, of which only those of the language model differ.
  void ExpectKept(const std::string& written) {
    const auto before = Stored(source_.path()), after = Stored(written);
    ASSERT_EQ(before.size(), after.size());
    int num_kept = 0, num_changed = 0;
    for (const auto& [name, bytes] : before) {
      ASSERT_EQ(after.count(name), 1U) << name;
      if (IsOfVisionPart(name)) {
        EXPECT_EQ(after.at(name), bytes) << name;
        ++num_kept;
      }
      num_changed += after.at(name) != bytes;
    }
    EXPECT_EQ(num_kept, static_cast<int>(golden_["vision"].size()));
    EXPECT_GT(num_changed, 10);
  }

  const TempDir source_;
  nlohmann::json golden_;
  ModelConfig config_;
};

TEST_P(VisionLanguageTest, KeepsTheVisionPartThroughTraining) {
  for (const Precision precision : {Precision::kFp32, Precision::kBf16}) {
    const TempDir out;
    const auto parameters = Load(precision);
    Step(*parameters);
    const auto files = WriteModelWeights(out.path(), *parameters, {.max_shard_bytes = 20'000});
    ASSERT_TRUE(files.ok()) << files.status();
    EXPECT_GT(files->size(), 2U);
    ExpectKept(out.path());
    const auto again = HfFolder::Open(out.path(), config_.names);
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_TRUE((*again)->CheckComplete(config_).ok());
  }
}

TEST_P(VisionLanguageTest, AdaptersLeaveTheVisionPartAlone) {
  v1::LoraConfig lora;
  lora.set_r(2);
  lora.set_alpha(4);
  lora.add_target_modules("gate_proj");
  lora.add_target_modules("q_proj");
  const absl::StatusOr<AdapterSpec> adapter = ResolveAdapter(lora, config_);
  ASSERT_TRUE(adapter.ok()) << adapter.status();
  EXPECT_EQ(adapter->targets.size(), static_cast<size_t>(2 * config_.num_layers));
  // PEFT would put adapters on layers of the vision part that end in a name.
  for (const std::string& name : adapter->target_modules)
    EXPECT_THAT(name, HasSubstr("model.language_model.layers."));
  for (const Quantization quantization : {Quantization::kNone, Quantization::kNf4}) {
    const TempDir out;
    const auto parameters = Load(Precision::kFp32, &*adapter, quantization);
    ASSERT_TRUE(parameters->InitAdapter(1).ok());
    for (int i = 0; i < 2; ++i) Step(*parameters);
    ASSERT_TRUE(WriteModelWeights(out.path(), *parameters).ok());
    const auto before = Stored(source_.path()), after = Stored(out.path());
    ASSERT_EQ(before.size(), after.size());
    for (const auto& [name, bytes] : before) {
      ASSERT_EQ(after.count(name), 1U) << name;
      const bool is_adapted =
          absl::StrContains(name, "self_attn.q_proj.weight") ||
          (absl::StrContains(name, "gate_proj.weight") && !IsOfVisionPart(name));
      if (is_adapted) {
        EXPECT_NE(after.at(name), bytes) << name;
      } else if (IsOfVisionPart(name)) {
        EXPECT_EQ(after.at(name), bytes) << name;
      }
    }
  }
}

TEST_P(VisionLanguageTest, SizeOfTheModelIsExact) {
  const TempDir out, empty;
  ASSERT_TRUE(WriteModelWeights(out.path(), *Load(Precision::kFp32)).ok());
  const auto folder = *HfFolder::Open(source_.path(), config_.names);
  EXPECT_EQ(ComputeCheckpointSize(StoredParameters(config_, *folder, {}), nullptr, {}, empty.path())
                .final_bytes,
            static_cast<int64_t>(std::filesystem::file_size(out / "model.safetensors")));
}

TEST_P(VisionLanguageTest, WritesAfterTheSourceIsDeletedAndNotAfterItChanged) {
  const TempDir out, other;
  const auto parameters = Load(Precision::kFp32);
  Step(*parameters);
  std::string last;
  for (const std::string& path : WeightFiles(source_.path())) {
    last = other / std::filesystem::path(path).filename().string();
    std::filesystem::create_hard_link(path, last);
    std::filesystem::remove(path);
  }
  ASSERT_TRUE(WriteModelWeights(out.path(), *parameters).ok());
  std::ofstream(last, std::ios::app) << "x";
  const TempDir second;
  const absl::Status changed = WriteModelWeights(second.path(), *parameters).status();
  EXPECT_EQ(changed.code(), absl::StatusCode::kFailedPrecondition) << changed;
  EXPECT_THAT(std::string(changed.message()), HasSubstr("was changed after the job had opened it"));
}

TEST_P(VisionLanguageTest, FreezesByTheNamesOfATextModelToo) {
  const auto short_names = ResolveFreeze(config_, {"model.layers.0.*", "model.embed_tokens.*"});
  const auto names = ResolveFreeze(
      config_, {"model.language_model.layers.0.*", "*.embed_tokens.weight", "model.visual.*"});
  ASSERT_TRUE(short_names.ok()) << short_names.status();
  ASSERT_TRUE(names.ok()) << names.status();
  EXPECT_EQ(*short_names, *names);
  EXPECT_GT(names->size(), 8U);
  EXPECT_TRUE(ResolveFreeze(config_, {"visual.blocks.0.*"})->empty());
  EXPECT_FALSE(ResolveFreeze(config_, {"model.visuals.*"}).ok());
}

INSTANTIATE_TEST_SUITE_P(Layouts, VisionLanguageTest,
                         ::testing::Values(Case{"qwen3_vl", false, 3}, Case{"qwen2_5_vl", true},
                                           Case{"qwen2_5_vl", false, 2}),
                         [](const auto& info) {
                           return info.param.model + (info.param.is_older ? "_older" : "_current") +
                                  std::to_string(info.param.shards);
                         });

}  // namespace
}  // namespace trainerd::engine
