// SPDX-License-Identifier: Apache-2.0
// Reading and writing model folders: single files and shards, damaged and incomplete folders,
// dtypes, tied heads, and the parameters loaded from them.
#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
#include <gmock/gmock.h>

#include "engine/model/folder/hf_folder.h"
#include "engine/model/model_writer.h"
#include "engine/model/parameters.h"
#include "tests/engine/model/golden_model.h"

namespace trainerd::engine {
namespace {

using golden::WriteFile;
using ::testing::HasSubstr;

void WriteTensors(const std::string& path,
                  const std::vector<SafetensorsWriter::Declared>& tensors) {
  auto writer = SafetensorsWriter::Create(path, tensors);
  ASSERT_TRUE(writer.ok()) << writer.status();
  for (const auto& tensor : tensors) {
    const std::string zeros(static_cast<size_t>(golden::Count(tensor.shape) * SizeOf(tensor.dtype)),
                            '\0');
    ASSERT_TRUE((*writer)->Append(zeros.data(), zeros.size()).ok());
  }
  ASSERT_TRUE((*writer)->Finish().ok());
}

nlohmann::json WeightMap(const std::string& folder) {
  std::ifstream index(folder + "/model.safetensors.index.json");
  return nlohmann::json::parse(index, nullptr, /*allow_exceptions=*/false)["weight_map"];
}

std::string Message(const absl::Status& status) { return std::string(status.message()); }

class ModelFolderTest : public ::testing::Test {
 protected:
  TempDir dir_;
  nlohmann::json golden_ = golden::Read("qwen2");
};

TEST_F(ModelFolderTest, ReportsMissingWeights) {
  EXPECT_EQ(HfFolder::Open(dir_.path() + "/nowhere").status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(Message(HfFolder::Open(dir_.path()).status()),
              HasSubstr("neither model.safetensors nor"));
  WriteFile(dir_.path() + "/pytorch_model.bin", "x");
  EXPECT_THAT(Message(HfFolder::Open(dir_.path()).status()), HasSubstr("convert"));
}

TEST_F(ModelFolderTest, NamesEachMissingTensorAndWrongShape) {
  std::vector<SafetensorsWriter::Declared> tensors;
  for (const WeightSpec& spec : WeightsOf(golden::Config(golden_))) {
    if (spec.name == "model.layers.1.mlp.down_proj.weight") continue;
    auto shape = spec.shape;
    if (spec.name == "model.norm.weight") shape[0] += 1;
    tensors.push_back({spec.name,
                       spec.name == "model.layers.0.self_attn.q_proj.bias" ? StoredDtype::kInt32
                                                                           : StoredDtype::kFloat32,
                       shape});
  }
  WriteTensors(dir_.path() + "/model.safetensors", tensors);
  const auto folder = HfFolder::Open(dir_.path());
  ASSERT_TRUE(folder.ok());
  const absl::Status status = (*folder)->CheckComplete(golden::Config(golden_));
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Message(status), HasSubstr("no tensor \"model.layers.1.mlp.down_proj.weight\""));
  EXPECT_THAT(Message(status),
              HasSubstr("\"model.norm.weight\" has shape [33], config.json requires [32]"));
  EXPECT_THAT(Message(status), HasSubstr("I32"));
  EXPECT_THAT(Message(status), HasSubstr("3 errors"));
}

TEST_F(ModelFolderTest, ReportsDamagedIndexes) {
  const std::string index = dir_.path() + "/model.safetensors.index.json";
  WriteTensors(dir_.path() + "/one.safetensors", {{"a", StoredDtype::kFloat32, {1}}});
  WriteTensors(dir_.path() + "/two.safetensors",
               {{"a", StoredDtype::kFloat32, {1}}, {"b", StoredDtype::kFloat32, {1}}});
  WriteFile(index, "{}");
  EXPECT_THAT(Message(HfFolder::Open(dir_.path()).status()), HasSubstr("weight_map"));
  WriteFile(index, R"({"weight_map": {"a": "three.safetensors"}})");
  EXPECT_THAT(Message(HfFolder::Open(dir_.path()).status()), HasSubstr("three.safetensors"));
  WriteFile(index, R"({"weight_map": {"a": "../one.safetensors"}})");
  EXPECT_THAT(Message(HfFolder::Open(dir_.path()).status()),
              HasSubstr("not a file of this folder"));
  WriteFile(index, R"({"weight_map": {"c": "one.safetensors"}})");
  EXPECT_THAT(Message(HfFolder::Open(dir_.path()).status()),
              HasSubstr("\"c\" is not in one.safetensors"));
  WriteFile(index, R"({"weight_map": {"a": NaN}})");
  EXPECT_THAT(Message(HfFolder::Open(dir_.path()).status()), HasSubstr("\"a\" has no file name"));
  WriteFile(index, R"({"metadata": {"n": 1e999}, "weight_map": {"a": "one.safetensors"}})");
  EXPECT_TRUE(HfFolder::Open(dir_.path()).ok());
  WriteFile(index, R"({"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}})");
  EXPECT_THAT(Message(HfFolder::Open(dir_.path()).status()), HasSubstr("tensor \"a\" is in"));
}

TEST_F(ModelFolderTest, WritesShardsThatReadBackEqual) {
  const auto parameters = golden::Load(golden_, Precision::kFp32, dir_.path());
  TempDir out;
  const auto files = WriteModelWeights(out.path(), *parameters, {.max_shard_bytes = 20000});
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_GT(files->size(), 3u);
  EXPECT_TRUE(files->contains("model.safetensors.index.json"));
  EXPECT_TRUE(files->contains("model-00001-of-" + [&] {
    char text[16];
    std::snprintf(text, sizeof(text), "%05zu", files->size() - 1);
    return std::string(text);
  }() + ".safetensors"));
  Manifest manifest;
  manifest.files = *files;
  EXPECT_TRUE(VerifyFolder(out.path(), manifest).ok()) << VerifyFolder(out.path(), manifest);

  const auto folder = HfFolder::Open(out.path());
  ASSERT_TRUE(folder.ok()) << folder.status();
  EXPECT_EQ(WeightMap(out.path()).size(), parameters->parameters().size());
  EXPECT_EQ((*folder)->Find("lm_head.weight"), nullptr);  // tied
  auto again =
      ParameterSet::Create(golden::Config(golden_), Precision::kFp32, testing::TestDevice());
  ASSERT_TRUE((*again)->Load(**folder).ok());
  EXPECT_TRUE(at::equal((*again)->flat_master(), parameters->flat_master()));
}

TEST_F(ModelFolderTest, KeepsTheDtypeOfTheSource) {
  const auto parameters = golden::Load(golden_, Precision::kBf16, dir_.path());
  TempDir bf16, again_dir;
  ASSERT_TRUE(
      WriteModelWeights(bf16.path(), *parameters, {.dtype = WriteWeightsOptions::Dtype::kBFloat16})
          .ok());
  const auto folder = HfFolder::Open(bf16.path());
  ASSERT_TRUE(folder.ok());
  EXPECT_EQ((*folder)->Find("model.norm.weight")->dtype, StoredDtype::kBFloat16);
  auto loaded =
      ParameterSet::Create(golden::Config(golden_), Precision::kFp32, testing::TestDevice());
  ASSERT_TRUE((*loaded)->Load(**folder).ok());
  EXPECT_EQ((*loaded)->parameters()[0].source_dtype, at::kBFloat16);
  EXPECT_TRUE(at::equal((*loaded)->flat_master(),
                        parameters->flat_master().to(at::kBFloat16).to(at::kFloat)));
  ASSERT_TRUE(WriteModelWeights(again_dir.path(), **loaded).ok());
  EXPECT_EQ((*HfFolder::Open(again_dir.path()))->Find("model.norm.weight")->dtype,
            StoredDtype::kBFloat16);
}

TEST_F(ModelFolderTest, CopiesTheOtherFilesOfTheFolder) {
  TempDir out;
  EXPECT_EQ(CopyModelFiles(dir_.path(), out.path()).status().code(), absl::StatusCode::kNotFound);
  WriteFile(dir_.path() + "/config.json", "{}");
  WriteFile(dir_.path() + "/tokenizer.json", "tok");
  WriteFile(dir_.path() + "/notes.txt", "private");
  std::filesystem::create_directory(dir_.path() + "/additional_chat_templates");
  WriteFile(dir_.path() + "/additional_chat_templates/tool_use.jinja", "{{ tools }}");
  WriteFile(dir_.path() + "/additional_chat_templates/notes.txt", "private");
  const auto files = CopyModelFiles(dir_.path(), out.path());
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_EQ(files->size(), 3u);
  EXPECT_EQ(files->count("additional_chat_templates/tool_use.jinja"), 1u);
  EXPECT_FALSE(std::filesystem::exists(out.path() + "/notes.txt"));
  EXPECT_FALSE(std::filesystem::exists(out.path() + "/additional_chat_templates/notes.txt"));
  Manifest manifest;
  manifest.files = *files;
  EXPECT_TRUE(VerifyFolder(out.path(), manifest).ok());
}

TEST_F(ModelFolderTest, GroupsAdjacentWeightsAndPublishesMasters) {
  const auto parameters = golden::Load(golden_, Precision::kBf16, dir_.path());
  const LinearWeights qkv = parameters->Linear({WeightRole::kQuery, WeightRole::kValue},
                                               {WeightRole::kQueryBias, WeightRole::kValueBias}, 1);
  EXPECT_EQ(qkv.weight.sizes(), (at::IntArrayRef{32 + 2 * 16, 32}));
  EXPECT_EQ(qkv.bias.size(0), 64);
  EXPECT_EQ(qkv.weight.scalar_type(), at::kBFloat16);
  EXPECT_EQ(qkv.weight_grad.scalar_type(), at::kFloat);
  EXPECT_TRUE(at::equal(qkv.weight.narrow(0, 32, 16),
                        parameters->Find("model.layers.1.self_attn.k_proj.weight")->value));
  EXPECT_FALSE(parameters
                   ->Linear({WeightRole::kDown, WeightRole::kDown},
                            {WeightRole::kDownBias, WeightRole::kDownBias}, 0)
                   .bias.defined());
  parameters->flat_master().mul_(2.0);
  EXPECT_FALSE(at::equal(parameters->flat_value(), parameters->flat_master().to(at::kBFloat16)));
  parameters->PublishCompute();
  EXPECT_TRUE(at::equal(parameters->flat_value(), parameters->flat_master().to(at::kBFloat16)));

  int64_t covered = 0;
  for (const auto& run : parameters->group_runs()) {
    EXPECT_EQ(run.begin, covered);
    covered = run.end;
  }
  EXPECT_EQ(covered, parameters->flat_master().numel());
  for (const Parameter& parameter : parameters->parameters()) {
    const bool is_matrix = parameter.group() == ParameterGroup::kMatrix ||
                           parameter.group() == ParameterGroup::kEmbedding ||
                           parameter.group() == ParameterGroup::kHead;
    EXPECT_EQ(is_matrix, parameter.master.dim() == 2) << parameter.name;
    for (const auto& run : parameters->group_runs()) {
      if (parameter.offset >= run.begin && parameter.offset < run.end) {
        EXPECT_EQ(run.group, parameter.group()) << parameter.name;
        EXPECT_LE(parameter.offset + parameter.master.numel(), run.end);
      }
    }
  }
}

TEST_F(ModelFolderTest, RandomWeightsDependOnTheSeed) {
  const ModelConfig config = golden::Config(golden_);
  auto a = ParameterSet::Create(config, Precision::kFp32, testing::TestDevice()),
       b = ParameterSet::Create(config, Precision::kFp32, testing::TestDevice());
  ASSERT_TRUE((*a)->InitRandom(5).ok() && (*b)->InitRandom(5).ok());
  EXPECT_TRUE(at::equal((*a)->flat_master(), (*b)->flat_master()));
  ASSERT_TRUE((*b)->InitRandom(6).ok());
  EXPECT_FALSE(at::equal((*a)->flat_master(), (*b)->flat_master()));
  const at::Tensor embedding = (*a)->Find("model.embed_tokens.weight")->master;
  EXPECT_NEAR(embedding.std().item<double>(), 0.02, 0.001);
  EXPECT_NEAR(embedding.mean().item<double>(), 0.0, 0.001);
  EXPECT_EQ((*a)->Find("model.norm.weight")->master.min().item<float>(), 1.0f);
  EXPECT_EQ((*a)->Find("model.layers.0.self_attn.k_proj.bias")->master.abs().max().item<float>(),
            0.0f);
}

}  // namespace
}  // namespace trainerd::engine
