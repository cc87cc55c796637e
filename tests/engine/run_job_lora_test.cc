// SPDX-License-Identifier: Apache-2.0
// Whole jobs of a tiny model that train an adapter. Expectations come from the same job without
// interruption, from the files of the folders, and from W + scale × B A.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/model/adapter/adapter_folder.h"
#include "engine/model/folder/hf_folder.h"
#include "engine/run_job.h"
#include "proto/contract/run_dir/manifest.h"
#include "tests/engine/train/tiny_run.h"

namespace trainerd::engine {
namespace {

using ::testing::ElementsAre;
using testing::FileHash;
using ::testing::HasSubstr;
using testing::kMomentum;
using testing::NoticeText;
using testing::Ran;
using testing::ReadText;
using testing::RunAttempt;
using testing::StartFrom;
using testing::StopAfterStep;
using testing::TinyJob;

constexpr char kLora[] = "lora: {r: 4, alpha: 8}\n";

std::string AdapterHash(const internal::AttemptSpec& spec) {
  return FileHash(spec.run_dir() + "/final/adapter_model.safetensors");
}

std::vector<std::string> Names(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

// The job in FOLDER/`run`, which must complete.
internal::AttemptSpec Complete(const TinyJob& job, const std::string& run,
                               const std::string& overrides, Ran* ran) {
  internal::AttemptSpec spec = job.Spec(run, 1, overrides);
  RunAttempt(spec, ran);
  EXPECT_EQ(ran->record.end(), v1::Attempt::COMPLETED) << ran->record.error().message();
  return spec;
}

// The error of a job that must fail, without a retry.
std::string ErrorOf(const internal::AttemptSpec& spec) {
  Ran ran;
  RunAttempt(spec, &ran);
  EXPECT_EQ(ran.record.end(), v1::Attempt::FAILED);
  EXPECT_FALSE(ran.record.error().retryable()) << ran.record.error().DebugString();
  return ran.record.error().message();
}

TEST(RunJobLoraTest, KeepsTheAdapterAlone) {
  TempDir folder;
  TinyJob job(folder);
  Ran ran;
  const internal::AttemptSpec spec =
      Complete(job, "run", absl::StrCat(kLora, "checkpoint: {every_steps: 6}"), &ran);
  const std::string final_folder = spec.run_dir() + "/final";
  EXPECT_THAT(Names(final_folder),
              ElementsAre("MANIFEST.json", "adapter_config.json", "adapter_model.safetensors",
                          "generation_config.json", "tokenizer.json", "tokenizer_config.json"));
  const nlohmann::json config =
      nlohmann::json::parse(ReadText(final_folder + "/adapter_config.json"));
  EXPECT_EQ(config["base_model_name_or_path"], folder / "model");
  EXPECT_EQ(config["r"], 4);
  EXPECT_TRUE(ReadManifest(final_folder)->adapter);
  const v1::Checkpoint& checkpoint = ran.record.last_checkpoint();
  EXPECT_TRUE(checkpoint.adapter());
  EXPECT_THAT(Names(checkpoint.path()),
              ElementsAre("MANIFEST.json", "adapter_config.json", "adapter_model.safetensors",
                          "generation_config.json", "job_config.yaml", "optimizer.safetensors",
                          "state.json", "tokenizer.json", "tokenizer_config.json"));
  // 2 layers: 4 × (q 32+32, k and v 32+16, o 32+32, gate and up 32+64, down 64+32) each.
  EXPECT_THAT(NoticeText(ran, "LORA_PARAMETERS"),
              HasSubstr("lora: 4096 of 32928 parameters train (12.4 %), in adapters of 14 layers "
                        "with r 4 and scale 2"));
  EXPECT_LT(ran.events.Losses().rbegin()->second, ran.events.Losses().begin()->second);
  const auto optimizer = *SafetensorsFile::Open(checkpoint.path() + "/optimizer.safetensors");
  EXPECT_EQ(optimizer->tensors().size(), 2u * 28u) << "two moments of A and B of 14 layers";
}

struct ResumeCase {
  std::string name, precision, packing, dtype, sections;
};

class LoraResumeTest : public ::testing::TestWithParam<ResumeCase> {};

TEST_P(LoraResumeTest, EndsWithBytesOfUninterruptedJob) {
  TempDir folder;
  TinyJob job(folder, GetParam().dtype);
  const std::string overrides =
      absl::StrCat("train: {precision: ", GetParam().precision,
                   "}\ndata: {packing: ", GetParam().packing, "}\n", GetParam().sections);
  Ran whole;
  const internal::AttemptSpec uninterrupted = Complete(job, "uninterrupted", overrides, &whole);
  const int64_t total = whole.record.last_step();
  int attempt = 0;
  std::map<int64_t, double> losses;
  for (const int64_t stop : {int64_t{1}, total / 2, total - 1, total}) {
    const internal::AttemptSpec spec = job.Spec("stopped", ++attempt, overrides);
    Ran ran;
    if (stop < total) {
      RunAttempt(spec, &ran, StopAfterStep(stop, StopMode::kPause));
      ASSERT_EQ(ran.record.end(), v1::Attempt::PAUSED_OK) << ran.record.error().message();
    } else {
      RunAttempt(spec, &ran);
      ASSERT_EQ(ran.record.end(), v1::Attempt::COMPLETED) << ran.record.error().message();
    }
    for (const auto& [step, loss] : ran.events.Losses()) losses[step] = loss;
  }
  EXPECT_EQ(losses, whole.events.Losses());
  for (const std::string& name : Names(uninterrupted.run_dir() + "/final")) {
    if (name == "MANIFEST.json") continue;
    EXPECT_EQ(FileHash(folder / ("stopped/final/" + name)),
              FileHash(folder / ("uninterrupted/final/" + name)))
        << name;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Matrix, LoraResumeTest,
    ::testing::Values(
        ResumeCase{"Fp32", "fp32", "none", "fp32", kLora},
        ResumeCase{"Nf4Fp32", "fp32", "none", "bf16",
                   "model: {quantization: nf4}\nlora: {r: 4, alpha: 8}\n"},
        ResumeCase{"Nf4Bf16Dropout", "bf16", "bfd", "bf16",
                   "model: {quantization: nf4}\nlora: {r: 4, dropout: 0.2}\n"},
        ResumeCase{"Bf16Dropout", "bf16", "bfd", "bf16", "lora: {r: 4, dropout: 0.2}\n"},
        ResumeCase{"Fp32OverBf16", "fp32", "bfd", "bf16",
                   "lora: {r: 3, rslora: true, target_modules: [q_proj, mlp.up_proj]}\n"},
        ResumeCase{"SgdMomentum", "bf16", "none", "fp32", absl::StrCat(kLora, kMomentum)},
        ResumeCase{"MergedEmbedding", "fp32", "bfd", "bf16",
                   "lora: {r: 2, dropout: 0.1, target_modules: [embed_tokens, lm_head, v_proj]}\n"
                   "output: {form: merged}\n"}),
    [](const auto& info) { return info.param.name; });

TEST(RunJobLoraTest, MergesIntoTheModelOfTheSameAdapter) {
  TempDir folder;
  TinyJob job(folder, "bf16");
  Ran adapter_run, merged_run;
  const std::string lora = "lora: {r: 4, target_modules: [o_proj, embed_tokens]}\n";
  const internal::AttemptSpec adapter = Complete(job, "adapter", lora, &adapter_run);
  const internal::AttemptSpec merged = Complete(
      job, "merged", absl::StrCat(lora, "output: {form: merged, path: ", folder / "out", "}"),
      &merged_run);
  EXPECT_EQ(adapter_run.events.Losses(), merged_run.events.Losses());
  const std::string final_folder = merged.run_dir() + "/final";
  EXPECT_FALSE(ReadManifest(final_folder)->adapter);
  EXPECT_EQ(FileHash(folder / "out/model.safetensors"),
            FileHash(final_folder + "/model.safetensors"));
  // The embedding is no longer the head.
  const ModelConfig config = *ReadModelConfig(final_folder);
  EXPECT_FALSE(config.tie_word_embeddings);
  const auto weights = *HfFolder::Open(final_folder), source = *HfFolder::Open(folder / "model");
  EXPECT_TRUE(weights->CheckComplete(config).ok()) << weights->CheckComplete(config);
  EXPECT_EQ(weights->Find("lm_head.weight")->dtype, StoredDtype::kBFloat16);
  const std::vector<int64_t> shape = source->Find("model.embed_tokens.weight")->shape;
  EXPECT_EQ(*weights->Bytes("lm_head.weight", shape),
            *source->Bytes("model.embed_tokens.weight", shape));
  EXPECT_NE(*weights->Bytes("model.embed_tokens.weight", shape),
            *source->Bytes("model.embed_tokens.weight", shape));
  // It trains on as a model of its own.
  Ran ran;
  Complete(job, "next", absl::StrCat("model: {path: ", final_folder, "}"), &ran);
  EXPECT_LT(ran.events.Losses().at(1), merged_run.events.Losses().at(1));
}

TEST(RunJobLoraTest, ContinuesFromAnAdapterFolder) {
  TempDir folder;
  TinyJob job(folder);
  Ran first, same, next;
  const internal::AttemptSpec spec =
      Complete(job, "first",
               "lora: {r: 4, alpha: 6, rslora: true, target_modules: [q_proj, up_proj]}", &first);
  const std::string adapter = spec.run_dir() + "/final";
  const std::string lora = absl::StrCat("lora: {adapter_path: ", adapter, "}\n");
  const internal::AttemptSpec unchanged =
      Complete(job, "unchanged", absl::StrCat(lora, "optimizer: {learning_rate: 0}"), &same);
  EXPECT_EQ(AdapterHash(unchanged), AdapterHash(spec)) << "bit for bit";
  EXPECT_EQ(FileHash(unchanged.run_dir() + "/final/adapter_config.json"),
            FileHash(adapter + "/adapter_config.json"));
  // Once there is a checkpoint, the folder is no longer needed.
  const std::string keys = absl::StrCat(lora, "checkpoint: {every_steps: 4}");
  const internal::AttemptSpec uninterrupted = Complete(job, "next", keys, &next);
  EXPECT_LT(next.events.Losses().at(1), first.events.Losses().at(1));
  Ran stopped, resumed;
  RunAttempt(job.Spec("stopped", 1, keys), &stopped, StopAfterStep(5, StopMode::kPause));
  std::filesystem::rename(adapter, adapter + "-moved");
  const internal::AttemptSpec again = job.Spec("stopped", 2, keys);
  RunAttempt(again, &resumed);
  ASSERT_EQ(resumed.record.end(), v1::Attempt::COMPLETED) << resumed.record.error().message();
  EXPECT_EQ(AdapterHash(again), AdapterHash(uninterrupted));
  EXPECT_THAT(ErrorOf(job.Spec("late", 1, keys)), HasSubstr("no such folder"));
}

TEST(RunJobLoraTest, StartsFromAdapterCheckpointsOfOtherJobs) {
  TempDir folder;
  TinyJob job(folder);
  Ran first, full, weights;
  RunAttempt(job.Spec("run", 1, kLora), &first, StopAfterStep(6, StopMode::kStop));
  const std::string checkpoint = first.record.last_checkpoint().path();
  const auto from = [&](const std::string& run, const std::string& state, const std::string& lora) {
    internal::AttemptSpec spec = job.Spec(
        run, 1,
        absl::StrCat(lora, "init_from: {checkpoint: ", checkpoint, ", state: ", state, "}"));
    spec.set_init_path(checkpoint);
    return spec;
  };
  RunAttempt(from("full", "full", kLora), &full);
  ASSERT_EQ(full.record.end(), v1::Attempt::COMPLETED) << full.record.error().message();
  EXPECT_EQ(full.record.first_step(), 7);
  RunAttempt(from("weights", "weights", kLora), &weights);
  ASSERT_EQ(weights.record.end(), v1::Attempt::COMPLETED) << weights.record.error().message();
  EXPECT_EQ(weights.record.first_step(), 1);
  EXPECT_LT(weights.events.Losses().at(1), first.events.Losses().at(1));
  // A final adapter is a start too.
  Ran last;
  internal::AttemptSpec spec = job.Spec(
      "last", 1,
      absl::StrCat(kLora, "init_from: {checkpoint: ", folder / "full/final", ", state: weights}"));
  spec.set_init_path(folder / "full/final");
  RunAttempt(spec, &last);
  EXPECT_EQ(last.record.end(), v1::Attempt::COMPLETED) << last.record.error().message();

  for (const std::string state : {"full", "weights"}) {
    EXPECT_THAT(ErrorOf(from("whole" + state, state, "")),
                HasSubstr("holds a LoRA adapter, not a whole model; add lora"));
    EXPECT_THAT(ErrorOf(from("rank" + state, state, "lora: {r: 8, alpha: 8}\n")),
                HasSubstr("another adapter than the job describes; set lora.r 4 instead of 8"));
    EXPECT_THAT(ErrorOf(from("alpha" + state, state, "lora: {r: 4}\n")),
                HasSubstr("set lora.alpha 8 instead of 16"));
    EXPECT_THAT(ErrorOf(from("layers" + state, state,
                             "lora: {r: 4, alpha: 8, target_modules: [q_proj]}\n")),
                HasSubstr("set lora.target_modules [q_proj, k_proj, v_proj, o_proj, "));
  }
  EXPECT_THAT(ErrorOf(from("sgd", "full", absl::StrCat(kLora, kMomentum, "\n"))),
              HasSubstr("momentum_buffer"));
}

TEST(RunJobLoraTest, RefusesWholeModelAsStart) {
  TempDir folder;
  TinyJob job(folder);
  Ran first;
  RunAttempt(job.Spec("run", 1), &first, StopAfterStep(3, StopMode::kStop));
  const std::string checkpoint = first.record.last_checkpoint().path();
  EXPECT_THAT(ErrorOf(StartFrom(job, checkpoint, "lora", kLora)),
              HasSubstr(checkpoint + " holds a whole model, and a job with lora starts from an "
                                     "adapter; set model.path to that folder"));
  // The advice works.
  Ran ran;
  Complete(job, "advised", absl::StrCat(kLora, "model: {path: ", checkpoint, "}"), &ran);
}

TEST(RunJobLoraTest, NamesTheModelThatAResumeNeeds) {
  TempDir folder;
  TinyJob job(folder);
  Ran stopped;
  RunAttempt(job.Spec("run", 1, kLora), &stopped, StopAfterStep(3, StopMode::kPause));
  std::filesystem::remove(folder / "model/model.safetensors");
  EXPECT_THAT(ErrorOf(job.Spec("run", 2, kLora)),
              HasSubstr((folder / "model") + " has no weights"));
}

TEST(RunJobLoraTest, RefusesToResumeOnOtherWeights) {
  TempDir folder;
  TinyJob job(folder);
  Ran stopped, init;
  RunAttempt(job.Spec("run", 1, kLora), &stopped, StopAfterStep(3, StopMode::kPause));
  std::filesystem::remove_all(folder / "model");
  testing::MakeTinyModel(folder / "model", "fp32", /*seed=*/8);
  const std::string error = ErrorOf(job.Spec("run", 2, kLora));
  EXPECT_THAT(error, HasSubstr("the weights in model.path " + (folder / "model") +
                               " are not those that the adapter in "));
  EXPECT_THAT(error, HasSubstr("put them back, or start a new job"));
  // The advice works, with a warning.
  RunAttempt(StartFrom(job, stopped.record.last_checkpoint().path(), "new", kLora), &init);
  EXPECT_EQ(init.record.end(), v1::Attempt::COMPLETED) << init.record.error().message();
  EXPECT_EQ(init.events.CountNotices("INIT_FROM_MODEL_DIFFERS"), 1);
}

TEST(RunJobLoraTest, ReportsLayersThatTheModelLacks) {
  TempDir folder;
  TinyJob job(folder);
  Ran ran;
  RunAttempt(job.Spec("run", 1, "lora: {target_modules: [c_attn]}"), &ran);
  EXPECT_EQ(ran.record.end(), v1::Attempt::FAILED);
  EXPECT_EQ(ran.record.error().code(), "CONFIGURATION_INVALID");
  EXPECT_THAT(ran.record.error().message(),
              HasSubstr("OpenModel: lora.target_modules[0]: \"c_attn\" matches no layer"));
  EXPECT_EQ(ran.events.Stages(), (std::vector<std::string>{"CheckRunIdentity"}))
      << "before any data is prepared";
}

}  // namespace
}  // namespace trainerd::engine
