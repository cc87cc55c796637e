// SPDX-License-Identifier: Apache-2.0
// The size that a model folder predicts for checkpoints and final model, against those that a job
// writes.
#include "engine/model/folder/checkpoint_size.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>

#include "engine/model/folder/adapter.h"
#include "engine/model/folder/freeze.h"
#include "engine/model/folder/hf_folder.h"
#include "proto/contract/run_dir/manifest.h"
#include "tests/engine/train/tiny_run.h"

namespace trainerd::engine {
namespace {

using testing::Ran;
using testing::ReadText;
using testing::RunAttempt;
using testing::TinyJob;
using testing::WriteText;

constexpr char kModel[] = "/tests/golden/tiny_model/config.json";

// Bytes of all files of a folder.
int64_t FolderBytes(const std::string& folder) {
  int64_t bytes = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
    if (entry.is_regular_file()) bytes += static_cast<int64_t>(entry.file_size());
  return bytes;
}

struct Case {
  std::string name;
  std::string dtype;
  std::string overrides;
  bool is_untied = false;
  bool has_own_head = false;
};

class CheckpointSizeTest : public ::testing::TestWithParam<Case> {
 protected:
  std::string ConfigPath() {
    std::string config = ReadText(TRAINERD_SOURCE_DIR + kModel);
    if (!GetParam().is_untied) return TRAINERD_SOURCE_DIR + kModel;
    const std::string tied = "\"tie_word_embeddings\": true";
    config.replace(config.find(tied), tied.size(), "\"tie_word_embeddings\": false");
    WriteText(folder_ / "config.json", config);
    return folder_ / "config.json";
  }
  // As trainerd-inspect computes it from the folder.
  static CheckpointSize Predict(const v1::JobConfig& config) {
    const std::string& path = config.model().path();
    const auto weights = *HfFolder::Open(path);
    ModelConfig model = *ReadModelConfig(path);
    weights->MatchHead(HeadCheck::kAll, model);
    const auto& patterns = config.train().freeze();
    const FrozenNames frozen = *ResolveFreeze(model, {patterns.begin(), patterns.end()});
    std::optional<AdapterSpec> adapter;
    if (config.has_lora()) adapter = *ResolveAdapter(config.lora(), model);
    return ComputeCheckpointSize(StoredParameters(model, *weights, frozen),
                                 adapter.has_value() ? &*adapter : nullptr, config, path);
  }

  const TempDir folder_;
};

void ExpectWithin2Percent(int64_t predicted, int64_t real) {
  EXPECT_LE(std::abs(predicted - real) * 50, real) << predicted << " instead of " << real;
}

TEST_P(CheckpointSizeTest, IsWithin2PercentOfWhatAJobWrites) {
  const TinyJob job(folder_, GetParam().dtype, ConfigPath());
  if (GetParam().has_own_head) testing::AddHead(folder_ / "model");
  // 6 steps per epoch.
  const internal::AttemptSpec spec =
      job.Spec("run", 1, "checkpoint: {every_steps: 6}\n" + GetParam().overrides);
  const CheckpointSize size = Predict(spec.config().config());
  Ran ran;
  RunAttempt(spec, &ran);
  ASSERT_EQ(ran.record.end(), v1::Attempt::COMPLETED) << ran.record.error().message();
  ExpectWithin2Percent(size.final_bytes, FolderBytes(spec.run_dir() + "/final"));
  int checkpoints = 0;
  for (const auto& entry : std::filesystem::directory_iterator(spec.run_dir() + "/checkpoints")) {
    ++checkpoints;
    ExpectWithin2Percent(size.checkpoint_bytes, FolderBytes(entry.path()));
  }
  EXPECT_GT(checkpoints, 0);
}

INSTANTIATE_TEST_SUITE_P(
    Jobs, CheckpointSizeTest,
    ::testing::Values(
        Case{.name = "Full", .dtype = "fp32"}, Case{.name = "Masters", .dtype = "bf16"},
        Case{.name = "Bf16Computation", .dtype = "bf16", .overrides = "train: {precision: bf16}"},
        Case{.name = "PureBf16", .dtype = "bf16", .overrides = "train: {precision: bf16_sr}"},
        Case{.name = "Frozen",
             .dtype = "bf16",
             .overrides = "train: {freeze: [model.embed_tokens.*, \"*.self_attn.*\"]}"},
        Case{.name = "SgdWithoutState",
             .dtype = "fp32",
             .overrides = "optimizer: {type: sgd, momentum: 0}"},
        Case{.name = "SgdMomentumAndMasters",
             .dtype = "bf16",
             .overrides = "optimizer: {type: sgd, momentum: 0.9}"},
        Case{.name = "Muon",
             .dtype = "bf16",
             .overrides = "optimizer: {type: muon, learning_rate: 1.0e-3}"},
        Case{.name = "MuonWithoutMomentum",
             .dtype = "fp32",
             .overrides = "optimizer: {type: muon, learning_rate: 1.0e-3, momentum: 0, "
                          "nesterov: false}"},
        Case{.name = "AdamW8bit", .dtype = "bf16", .overrides = "optimizer: {type: adamw_8bit}"},
        Case{.name = "Lora", .dtype = "bf16", .overrides = "lora: {r: 64}"},
        Case{.name = "LoraMerged",
             .dtype = "bf16",
             .overrides = "lora: {r: 8}\noutput: {form: merged}\noptimizer: {type: sgd}"},
        Case{.name = "LoraMergedUntied",
             .dtype = "fp32",
             .overrides = "lora: {target_modules: [lm_head, v_proj]}\noutput: {form: merged}"},
        Case{.name = "LoraWithHead",
             .dtype = "fp32",
             .overrides = "lora: {target_modules: [embed_tokens]}\noutput: {form: merged}",
             .has_own_head = true},
        Case{.name = "Untied", .dtype = "fp32", .is_untied = true},
        Case{.name = "OwnHead", .dtype = "fp32", .has_own_head = true}),
    [](const auto& info) { return info.param.name; });

TEST(StoredParametersTest, IsEmptyIfAWeightIsMissingOrDoesNotFit) {
  const TempDir folder;
  testing::MakeTinyModel(folder / "model");
  ModelConfig model = *ReadModelConfig(folder / "model");
  const auto weights = *HfFolder::Open(folder / "model");
  EXPECT_FALSE(StoredParameters(model, *weights, {}).empty());
  ++model.num_layers;
  EXPECT_TRUE(StoredParameters(model, *weights, {}).empty());
  --model.num_layers;
  ++model.vocab_size;
  EXPECT_TRUE(StoredParameters(model, *weights, {}).empty());
}

}  // namespace
}  // namespace trainerd::engine
