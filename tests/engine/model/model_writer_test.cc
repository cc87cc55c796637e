// SPDX-License-Identifier: Apache-2.0
// Adapters written and merged. Expectations: merge_and_unload of PEFT (adapters.json),
// W + scale B A in fp64, and the decoder with the adapter that is not merged.
#include "engine/model/model_writer.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/from_blob.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "engine/model/decoder.h"
#include "tests/engine/model/adapted_model.h"

namespace trainerd::engine {
namespace {

using golden::Adapted;
using ::testing::HasSubstr;

at::Tensor Stored(const HfFolder& folder, const std::string& name) {
  const TensorInfo& info = *folder.Find(name);
  const std::string_view bytes = *folder.Bytes(name, info.shape);
  return at::from_blob(const_cast<char*>(bytes.data()), info.shape,
                       at::TensorOptions().dtype(ScalarTypeOf(info.dtype)))
      .clone();
}

// W + scale × B A in fp64.
at::Tensor Merged(const Adapted& adapted, const at::Tensor& weight, const AdapterTarget& target) {
  const auto matrix = [&](WeightRole role) {
    return adapted.parameters->Find(AdapterWeightName(target, role))->master.cpu().to(at::kDouble);
  };
  const at::Tensor product = matrix(WeightRole::kAdapterB).matmul(matrix(WeightRole::kAdapterA));
  const double scale = adapted.parameters->adapter()->scale();
  return weight.to(at::kDouble) +
         (target.role == WeightRole::kEmbedding ? product.t() : product) * scale;
}

TEST(ModelWriterTest, MergesAsPeftDoes) {
  const nlohmann::json golden = golden::File("adapter/adapters");
  int num_compared = 0;
  for (const auto& [name, item] : golden["cases"].items()) {
    SCOPED_TRACE(name);
    if (item["merged"].empty() || item["config"]["target_modules"].is_string()) continue;
    const TempDir dir, out;
    const nlohmann::json model = golden::Read(item["model"]);
    golden::WriteFolder(model, dir.path());
    golden::WriteAdapter(item["config"].dump(), golden::Config(model), dir, at::kFloat);
    const Adapted adapted = golden::LoadAdapted(model, dir, Precision::kFp32);
    ASSERT_TRUE(WriteModelWeights(out.path(), *adapted.parameters).ok());
    const auto merged = *HfFolder::Open(out.path());
    const auto before = *HfFolder::Open(dir.path());
    EXPECT_EQ(merged->Names(), before->Names());
    for (const std::string& weight : before->Names()) {
      const at::Tensor ours = Stored(*merged, weight);
      if (!item["merged"].contains(weight)) {
        EXPECT_TRUE(at::equal(ours, Stored(*before, weight))) << weight;
        continue;
      }
      const nlohmann::json& theirs = item["merged"][weight];
      EXPECT_NEAR(ours.to(at::kDouble).norm().item<double>(), theirs["norm"],
                  1e-6 * theirs["norm"].get<double>());
      for (int i = 0; i < 4; ++i) {
        EXPECT_NEAR(ours.flatten()[i].item<float>(), theirs["first"][static_cast<size_t>(i)], 1e-6)
            << weight << " " << i;
      }
      ++num_compared;
    }
  }
  EXPECT_GT(num_compared, 20);
}

struct MergeCase {
  std::string name;
  std::string model;
  std::vector<std::string> target_modules;
  at::ScalarType dtype = at::kFloat;
  Precision precision = Precision::kFp32;
};

class MergeTest : public ::testing::TestWithParam<MergeCase> {
 protected:
  // The model in its dtype, with an adapter.
  Adapted Load() {
    const MergeCase& item = GetParam();
    const nlohmann::json model = golden::Read(item.model);
    golden::WriteFile(dir_ / "config.json", model["config"].dump());
    golden::WriteTensors(dir_ / "model.safetensors", WeightsOf(golden::Config(model)), item.dtype);
    golden::WriteAdapter(
        PeftConfigJson({.rank = 4, .alpha = 6.0, .target_modules = item.target_modules}, ""),
        golden::Config(model), dir_, at::kFloat);
    return golden::LoadAdapted(model, dir_, item.precision);
  }

  TempDir dir_, out_;
};

// An element may be rounded to the other neighbor where fp32 meets the middle between two.
TEST_P(MergeTest, RoundsSumInFp32ToDtypeOfTheSource) {
  const Adapted adapted = Load();
  const auto files = WriteModelWeights(out_.path(), *adapted.parameters,
                                       {.max_shard_bytes = 9000, .max_merge_elements = 100});
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_GT(files->size(), 3u);
  const auto merged = *HfFolder::Open(out_.path()), before = *HfFolder::Open(dir_.path());
  std::map<std::string, AdapterTarget> targets;
  for (const AdapterTarget& target : adapted.parameters->adapter()->targets)
    targets[target.module + ".weight"] = target;
  int64_t num_equal = 0, num_elements = 0;
  for (const std::string& name : merged->Names()) {
    const at::Tensor ours = Stored(*merged, name);
    const std::string source = before->Find(name) == nullptr ? EmbeddingName({}) : name;
    const at::Tensor weight = Stored(*before, source);
    EXPECT_EQ(ours.scalar_type(), GetParam().dtype) << name;
    if (targets.count(name) == 0) {
      EXPECT_TRUE(at::equal(ours, weight)) << name << " has no adapter";
      continue;
    }
    const at::Tensor exact = Merged(adapted, weight, targets[name]);
    const at::Tensor expected = exact.to(at::kFloat).to(GetParam().dtype);
    num_equal += ours.eq(expected).sum().item<int64_t>();
    num_elements += ours.numel();
    const double unit = GetParam().dtype == at::kFloat  ? 0x1p-22
                        : GetParam().dtype == at::kHalf ? 0x1p-10
                                                        : 0x1p-7;
    EXPECT_TRUE(at::allclose(ours.to(at::kDouble), exact, unit, 1e-6)) << name;
  }
  EXPECT_GT(num_elements, 0);
  if (GetParam().dtype != at::kFloat) {
    EXPECT_GE(static_cast<double>(num_equal), 0.999 * static_cast<double>(num_elements));
  }
}

TEST_P(MergeTest, GivesTheLogitsOfTheAdapter) {
  Adapted adapted = Load();
  ASSERT_TRUE(WriteModelWeights(out_.path(), *adapted.parameters).ok());
  const auto merged = *HfFolder::Open(out_.path());
  ModelConfig config = adapted.config;
  const bool unties = MergeUnties(*adapted.parameters->adapter(), config.tie_word_embeddings);
  EXPECT_EQ(config.tie_word_embeddings && merged->Find(kHeadName) != nullptr, unties);
  if (unties) config.tie_word_embeddings = false;
  auto whole = *ParameterSet::Create(config, GetParam().precision, testing::TestDevice());
  ASSERT_TRUE(whole->Load(*merged).ok());
  const DeviceBatch batch =
      ToDevice(golden::Pack(golden::Read(GetParam().model), {0, 2}), testing::TestDevice());
  const at::Tensor ours = Decoder(config, *whole).Logits(batch);
  const at::Tensor theirs = Decoder(adapted.config, *adapted.parameters).Logits(batch);
  // fp32: order of the sums. Narrow weights or activations: their rounding, relative to the largest
  // logit.
  const bool is_fp32 = GetParam().dtype == at::kFloat && GetParam().precision == Precision::kFp32;
  const double tolerance = is_fp32 ? 2e-5 : 0.03;
  EXPECT_LE((ours - theirs).abs().max().item<double>(),
            tolerance * theirs.abs().max().item<double>());
  EXPECT_GT(theirs.abs().max().item<double>(), 1.0);
}

TEST_P(MergeTest, WritesTheAdapterThatWasLoaded) {
  const Adapted adapted = Load();
  const auto files = WriteAdapterWeights(out_.path(), *adapted.parameters);
  ASSERT_TRUE(files.ok()) << files.status();
  ASSERT_EQ(files->size(), 1u);
  const auto file = *SafetensorsFile::Open(out_ / kAdapterWeightsName);
  const std::vector<WeightSpec> specs = AdapterWeights(*adapted.parameters->adapter());
  EXPECT_EQ(file->tensors().size(), specs.size());
  for (const WeightSpec& spec : specs) {
    const TensorInfo* info = file->Find(spec.name);
    ASSERT_NE(info, nullptr) << spec.name;
    EXPECT_EQ(info->shape, spec.shape);
    EXPECT_EQ(info->dtype, StoredDtype::kFloat32);
    const at::Tensor expected = golden::Tensor(spec.name, spec.shape);
    EXPECT_EQ(
        file->Bytes(*info),
        std::string_view(static_cast<const char*>(expected.const_data_ptr()), expected.nbytes()));
  }
}

const std::vector<std::string> kBlocks = {"q_proj",    "k_proj",  "v_proj",   "o_proj",
                                          "gate_proj", "up_proj", "down_proj"};
INSTANTIATE_TEST_SUITE_P(
    Models, MergeTest,
    ::testing::Values(
        MergeCase{"Blocks", "llama3_rope_bias", kBlocks},
        MergeCase{"Bf16", "qwen3", kBlocks, at::kBFloat16},
        MergeCase{"Fp16", "mistral_sliding", kBlocks, at::kHalf},
        MergeCase{"Bf16Computation", "olmo2", kBlocks, at::kBFloat16, Precision::kBf16},
        // The frozen weights keep their fp32 bytes beside the bf16 ones.
        MergeCase{"Fp32InBf16", "qwen2", {"k_proj", "down_proj"}, at::kFloat, Precision::kBf16},
        MergeCase{"EmbeddingAndHead", "llama3_rope_bias", {"embed_tokens", "lm_head", "v_proj"}},
        MergeCase{"TiedEmbedding", "llama_tied", {"embed_tokens", "o_proj"}},
        MergeCase{"TiedHead", "smollm3", {"lm_head"}},
        MergeCase{"TiedBoth", "qwen2", {"lm_head", "embed_tokens"}, at::kBFloat16}),
    [](const auto& info) { return info.param.name; });

TEST(ModelWriterTest, RefusesToMergeBeyondTheDtype) {
  const TempDir dir, out;
  const nlohmann::json model = golden::Read("qwen3");
  golden::WriteFile(dir / "config.json", model["config"].dump());
  golden::WriteTensors(dir / "model.safetensors", WeightsOf(golden::Config(model)), at::kHalf);
  golden::WriteAdapter(PeftConfigJson({.rank = 1, .alpha = 4e6, .target_modules = {"up_proj"}}, ""),
                       golden::Config(model), dir, at::kFloat);
  const Adapted adapted = golden::LoadAdapted(model, dir, Precision::kFp32);
  const absl::Status status = WriteModelWeights(out.path(), *adapted.parameters).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kOutOfRange);
  EXPECT_THAT(status.message(), HasSubstr("up_proj.weight with the adapter merged exceeds F16"));
}

TEST(ModelWriterTest, CopiesFilesBesideAnAdapter) {
  const TempDir from, to;
  for (const char* name : {"config.json", "generation_config.json", "tokenizer.json",
                           "chat_template.jinja", "additional_chat_templates/rag.jinja", "x.txt"})
    from.Write(name, name);
  const auto files = CopyAdapterFiles(from.path(), to.path());
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_EQ(files->size(), 4u);
  EXPECT_EQ(files->count("config.json"), 0u);
  EXPECT_TRUE(std::filesystem::exists(to / "additional_chat_templates/rag.jinja"));
}

}  // namespace
}  // namespace trainerd::engine
