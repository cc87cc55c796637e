// SPDX-License-Identifier: Apache-2.0
// Whole jobs of a tiny model: stages, learning, frozen weights, samples, and errors. Other tests of
// RunJob: run_job_*_test.cc.
#include "engine/run_job.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/formats/safetensors.h"
#include "engine/model/folder/hf_folder.h"
#include "proto/contract/run_dir/manifest.h"
#include "tests/engine/train/tiny_run.h"

namespace trainerd::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::kFreeze;
using testing::kMomentum;
using testing::Ran;
using testing::ReadText;
using testing::RunAttempt;
using testing::TinyJob;
using testing::WriteText;

TEST(RunJobTest, LearnsAndWritesVerifiedFinalModel) {
  TempDir folder;
  TinyJob job(folder);
  const internal::AttemptSpec spec =
      job.Spec("run", 1, "evaluation: {at_start: true, at_end: true, every_steps: 5}");
  Ran ran;
  RunAttempt(spec, &ran);
  ASSERT_EQ(ran.record.end(), v1::Attempt::COMPLETED) << ran.record.error().message();
  EXPECT_THAT(ran.events.Stages(),
              ElementsAre("CheckRunIdentity", "OpenModel", "PrepareData", "CheckMasking",
                          "LoadWeights", "BuildOptimizer", "Restore", "Train", "SaveFinal"));
  // 24 rows, 4 a step, 2 epochs.
  EXPECT_EQ(ran.record.first_step(), 1);
  EXPECT_EQ(ran.record.last_step(), 12);
  const auto losses = ran.events.Losses();
  ASSERT_EQ(losses.size(), 12u);
  EXPECT_LT(losses.at(12), 0.8 * losses.at(1));
  EXPECT_THAT(ran.events.EvaluatedSteps(), ElementsAre(0, 5, 10, 12));
  const auto manifest = ReadManifest(spec.run_dir() + "/final");
  ASSERT_TRUE(manifest.ok()) << manifest.status();
  EXPECT_EQ(manifest->kind, "final");
  EXPECT_EQ(manifest->step, 12);
  EXPECT_TRUE(VerifyFolder(spec.run_dir() + "/final", *manifest).ok());
  EXPECT_EQ(manifest->files.count("tokenizer.json"), 1u);
  EXPECT_EQ(ran.record.last_checkpoint().step(), 12);
  EXPECT_TRUE(ran.record.last_checkpoint().verified());
}

TEST(RunJobTest, FirstUpdateOfWarmUpHasLearningRateZero) {
  TempDir folder;
  TinyJob job(folder);
  Ran ran;
  RunAttempt(job.Spec("run", 1, "train: {max_steps: 3}"), &ran);
  ASSERT_EQ(ran.record.end(), v1::Attempt::COMPLETED) << ran.record.error().message();
  std::vector<double> rates;
  for (const v1::Event& event : ran.events.events()) {
    if (event.has_metrics()) rates.push_back(event.metrics().learning_rate());
  }
  ASSERT_EQ(rates.size(), 3u);
  EXPECT_EQ(rates[0], 0);
  EXPECT_NEAR(rates[1], 0.5e-2, 1e-12);
  EXPECT_NEAR(rates[2], 1e-2, 1e-12);
}

// A power of two scales every rounding alike, so the first loss is exactly twice that of weight 1.
TEST(RunJobTest, MultipliesLossesByTheWeightsOfMessages) {
  TempDir folder;
  TinyJob job(folder);
  const auto first_loss = [&](const std::string& weight) {
    std::string rows;
    for (int i = 0; i < 8; ++i) {
      absl::StrAppend(&rows, R"({"messages": [{"role": "user", "content": "Count", "weight": 9}, )",
                      R"({"role": "assistant", "content": "to )", i, R"(", "weight": )", weight,
                      "}]}\n");
    }
    WriteText(folder / "train.jsonl", rows);
    Ran ran;
    RunAttempt(job.Spec(absl::StrCat("run", weight), 1, "train: {max_steps: 3}"), &ran);
    EXPECT_EQ(ran.record.end(), v1::Attempt::COMPLETED) << ran.record.error().message();
    return ran.events.Losses().at(1);
  };
  const double one = first_loss("1");
  EXPECT_EQ(first_loss("2"), 2 * one);
  EXPECT_EQ(first_loss("0.25"), 0.25 * one);
}

TEST(RunJobTest, ReportsTheLearningRateOfEachGroup) {
  TempDir folder;
  TinyJob job(folder);
  Ran muon, adamw;
  RunAttempt(job.Spec("muon", 1, "train: {max_steps: 3}\noptimizer: {type: muon}"), &muon);
  RunAttempt(job.Spec("adamw", 1, "train: {max_steps: 3}"), &adamw);
  std::vector<std::map<std::string, double>> rates;
  for (const v1::Event& event : muon.events.events()) {
    if (!event.has_metrics()) continue;
    const auto& groups = event.metrics().learning_rates();
    rates.emplace_back(groups.begin(), groups.end());
    EXPECT_EQ(event.metrics().learning_rate(), rates.back()["muon"]);
  }
  ASSERT_EQ(rates.size(), 3u);
  EXPECT_EQ(rates[0], (std::map<std::string, double>{{"adamw", 0}, {"muon", 0}}));
  EXPECT_NEAR(rates[1]["muon"], 0.5e-2, 1e-12);
  EXPECT_NEAR(rates[1]["adamw"], 1.5e-4, 1e-14);
  EXPECT_NEAR(rates[2]["adamw"], 3e-4, 1e-14);
  for (const v1::Event& event : adamw.events.events())
    EXPECT_TRUE(event.metrics().learning_rates().empty());
}

TEST(RunJobTest, LearnsWithSgd) {
  TempDir folder;
  TinyJob job(folder);
  Ran ran;
  RunAttempt(job.Spec("run", 1, kMomentum), &ran);
  ASSERT_EQ(ran.record.end(), v1::Attempt::COMPLETED) << ran.record.error().message();
  EXPECT_LT(ran.events.Losses().at(12), 0.8 * ran.events.Losses().at(1));
}

// Checkpoint and final model hold frozen weights byte for byte as the source does, also where the
// computation is in a narrower dtype.
TEST(RunJobTest, KeepsBytesOfFrozenWeights) {
  for (const char* dtype : {"fp32", "bf16"}) {
    TempDir folder;
    TinyJob job(folder, dtype);
    Ran ran;
    const internal::AttemptSpec spec =
        job.Spec("run", 1, absl::StrCat("train: {precision: bf16", kFreeze, "}"));
    RunAttempt(spec, &ran);
    ASSERT_EQ(ran.record.end(), v1::Attempt::COMPLETED) << ran.record.error().message();
    EXPECT_EQ(ran.events.CountNotices("FROZEN_PARAMETERS"), 1);
    const auto source = SafetensorsFile::Open(folder / "model/model.safetensors");
    ASSERT_TRUE(source.ok());
    for (const std::string& path :
         {spec.run_dir() + "/final", ran.record.last_checkpoint().path()}) {
      const auto written = HfFolder::Open(path);
      ASSERT_TRUE(written.ok()) << written.status();
      int equal = 0;
      for (const TensorInfo& info : (*source)->tensors()) {
        const std::string& name = info.name;
        ASSERT_EQ(info.dtype, (*written)->Find(name)->dtype);
        const bool same = (*source)->Bytes(info) == *(*written)->Bytes(name, info.shape);
        const bool frozen = name == "model.embed_tokens.weight" ||
                            name.rfind("model.layers.0.", 0) == 0 ||
                            name == "model.layers.1.self_attn.k_proj.weight";
        if (frozen) {
          EXPECT_TRUE(same) << name;
        }
        equal += same ? 1 : 0;
      }
      EXPECT_LT(equal, static_cast<int>((*source)->tensors().size()));
    }
  }
}

TEST(RunJobTest, RefusesFreezePatternBeforePreparingData) {
  TempDir folder;
  TinyJob job(folder);
  Ran ran;
  RunAttempt(job.Spec("run", 1, "train: {freeze: [model.embedding.*]}"), &ran);
  EXPECT_EQ(ran.record.end(), v1::Attempt::FAILED);
  EXPECT_EQ(ran.record.error().code(), "CONFIGURATION_INVALID");
  EXPECT_EQ(ran.record.error().cause(), v1::JobError::USER);
  EXPECT_THAT(ran.record.error().message(),
              HasSubstr("train.freeze[0]: \"model.embedding.*\" matches no parameter"));
  EXPECT_THAT(ran.events.Stages(), ElementsAre("CheckRunIdentity"));
}

TEST(RunJobTest, FailsOnNonFiniteLossWithConversations) {
  TempDir folder;
  TinyJob job(folder);
  const std::string weights = folder / "model/model.safetensors";
  std::string bytes = ReadText(weights);
  // Finite, but the logits overflow.
  const float largest = std::numeric_limits<float>::max();
  for (size_t i = 1; i <= 32; ++i)
    std::memcpy(bytes.data() + bytes.size() - i * sizeof(largest), &largest, sizeof(largest));
  WriteText(weights, bytes);
  const internal::AttemptSpec spec = job.Spec("run", 1, "data: {shuffle: false}");
  Ran ran;
  RunAttempt(spec, &ran);
  ASSERT_EQ(ran.record.end(), v1::Attempt::FAILED);
  EXPECT_EQ(ran.record.error().code(), "NON_FINITE");
  EXPECT_EQ(ran.record.error().cause(), v1::JobError::NUMERICS);
  EXPECT_FALSE(ran.record.error().retryable());
  EXPECT_THAT(ran.record.error().message(),
              HasSubstr("conversations of the step (counted from 0: 0, 1, 2, 3)"));
  EXPECT_THAT(ran.record.error().message(), HasSubstr("There is no checkpoint yet"));
  EXPECT_FALSE(ran.record.has_last_checkpoint());
  EXPECT_TRUE(ran.events.Losses().empty());
  EXPECT_EQ(ran.events.CountNotices("NON_FINITE"), 1);
  const auto& events = ran.events.events();
  EXPECT_TRUE(std::any_of(events.begin(), events.end(), [](const v1::Event& event) {
    return event.alert().type() == "non_finite" && event.alert().active();
  }));
}

TEST(RunJobTest, NamesTheStartWeightThatIsNotFinite) {
  TempDir folder;
  TinyJob job(folder);
  const std::string weights = folder / "model/model.safetensors";
  std::string bytes = ReadText(weights);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::memcpy(bytes.data() + bytes.size() - sizeof(nan), &nan, sizeof(nan));
  WriteText(weights, bytes);
  for (const char* freeze : {"", "train: {freeze: [model.norm.weight]}"}) {
    Ran ran;
    RunAttempt(job.Spec("run", 1, freeze), &ran);
    ASSERT_EQ(ran.record.end(), v1::Attempt::FAILED);
    EXPECT_EQ(ran.record.error().code(), "MODEL_INVALID");
    EXPECT_FALSE(ran.record.error().retryable());
    EXPECT_THAT(
        ran.record.error().message(),
        HasSubstr(weights + ": tensor \"model.norm.weight\" holds NaN or infinity (first at "
                            "element 31"));
  }
}

TEST(RunJobTest, RefusesWarmUpLongerThanTheEpochs) {
  TempDir folder;
  TinyJob job(folder);
  Ran ran;
  RunAttempt(job.Spec("run", 1, "schedule: {warmup_steps: 12}"), &ran);
  ASSERT_EQ(ran.record.end(), v1::Attempt::FAILED);
  EXPECT_EQ(ran.record.error().code(), "CONFIGURATION_INVALID");
  EXPECT_THAT(ran.record.error().message(), HasSubstr("12 steps of warm-up do not end before"));
}

TEST(RunJobTest, EmitsSamplesBeforeAndAfterTraining) {
  TempDir folder;
  TinyJob job(folder);
  WriteText(folder / "prompts.jsonl",
            "{\"prompt\": \"What comes after 3?\", \"expected\": \"4\"}\n"
            "{\"messages\": [{\"role\": \"user\", \"content\": \"And 4?\"}, {\"role\": "
            "\"assistant\", \"content\": \"5\"}]}\n");
  Ran ran;
  RunAttempt(job.Spec("run", 1,
                      absl::StrCat("train: {max_steps: 3}\nsamples: {prompts: ",
                                   folder / "prompts.jsonl", ", max_tokens: 4}")),
             &ran);
  ASSERT_EQ(ran.record.end(), v1::Attempt::COMPLETED) << ran.record.error().message();
  std::vector<std::string> seen;
  for (const v1::Event& event : ran.events.events()) {
    if (event.has_sample())
      seen.push_back(absl::StrCat(event.sample().step(), " ", event.sample().prompt(), " ",
                                  event.sample().expected()));
  }
  EXPECT_THAT(seen, ElementsAre("0 What comes after 3? 4", "0 And 4? 5", "3 What comes after 3? 4",
                                "3 And 4? 5"));
}

TEST(RunJobTest, ReportsMissingDevice) {
  TempDir folder;
  TinyJob job(folder);
  internal::AttemptSpec spec = job.Spec("run", 1);
  spec.set_devices(0, "cuda:7");
  Ran ran;
  RunAttempt(spec, &ran);
  ASSERT_EQ(ran.record.end(), v1::Attempt::FAILED);
  EXPECT_EQ(ran.record.error().code(), "NO_SUCH_DEVICE");
  EXPECT_THAT(ran.record.error().message(), HasSubstr("no such device: cuda:7"));
}

TEST(RunJobTest, RefusesPipesAndFoldersAsInputsAtOnce) {
  const std::vector<std::pair<std::string, std::function<void(v1::JobConfig&, const std::string&)>>>
      cases = {
          {"data.train",
           [](v1::JobConfig& c, const std::string& p) {
             c.mutable_data()->mutable_train(0)->set_path(p);
           }},
          {"data.validation",
           [](v1::JobConfig& c, const std::string& p) { c.mutable_data()->set_validation(p); }},
          {"samples.prompts",
           [](v1::JobConfig& c, const std::string& p) { c.mutable_samples()->set_prompts(p); }},
          {"data.chat_template",
           [](v1::JobConfig& c, const std::string& p) { c.mutable_data()->set_chat_template(p); }},
          {"model.path",
           [](v1::JobConfig& c, const std::string& p) { c.mutable_model()->set_path(p); }},
      };
  for (const auto& [name, set] : cases) {
    TempDir folder;
    TinyJob job(folder);
    const std::string pipe = folder / "pipe.jinja";
    ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
    internal::AttemptSpec spec = job.Spec("run", 1);
    set(*spec.mutable_config()->mutable_config(), pipe);
    Ran ran;
    RunAttempt(spec, &ran);
    ASSERT_EQ(ran.record.end(), v1::Attempt::FAILED) << name;
    EXPECT_FALSE(ran.record.error().retryable()) << name;
    EXPECT_THAT(ran.record.error().message(), HasSubstr("pipe")) << name;
    EXPECT_TRUE(ran.events.Losses().empty()) << name;
  }
}

}  // namespace
}  // namespace trainerd::engine
