// SPDX-License-Identifier: Apache-2.0
// What a job makes of its model folder, and what it keeps of it, by whole jobs of a tiny model.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/formats/safetensors.h"
#include "engine/model/config/generation_config.h"
#include "engine/text/tokenizer/tokenizer.h"
#include "tests/engine/train/tiny_run.h"

namespace trainerd::engine {
namespace {

using testing::FinalHash;
using ::testing::HasSubstr;
using testing::Ran;
using testing::ReadText;
using testing::RunAttempt;
using testing::StopAfterStep;
using testing::TinyJob;
using testing::WriteText;

TEST(OpenModelTest, TrainsAndSavesAHeadOfItsOwnAsUntiedModel) {
  TempDir folder;
  TinyJob job(folder);
  testing::AddHead(folder / "model");
  const std::string overrides = "checkpoint: {every_steps: 2}\ntrain: {max_steps: 4}";
  Ran first, second;
  RunAttempt(job.Spec("run", 1, overrides), &first, StopAfterStep(2, StopMode::kStop));
  EXPECT_EQ(first.events.CountNotices("UNTIED_HEAD"), 1);
  const internal::AttemptSpec resumed = job.Spec("run", 2, overrides);
  ASSERT_FALSE(resumed.resume_path().empty());
  RunAttempt(resumed, &second);
  ASSERT_EQ(second.record.end(), v1::Attempt::COMPLETED) << second.record.error().message();
  const std::string final_folder = resumed.run_dir() + "/final";
  EXPECT_THAT(ReadText(final_folder + "/config.json"), HasSubstr("\"tie_word_embeddings\": false"));
  const auto file = SafetensorsFile::Open(final_folder + "/model.safetensors");
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_NE((*file)->Find("lm_head.weight"), nullptr);
  EXPECT_NE(*(*file)->Bytes("lm_head.weight"), *(*file)->Bytes("model.embed_tokens.weight"));
}

// The untied model's config.json is written anew.
TEST(OpenModelTest, KeepsNumbersThatOnlyPythonReads) {
  TempDir folder;
  TinyJob job(folder);
  testing::AddHead(folder / "model");
  std::string config = ReadText(folder / "model/config.json");
  WriteText(folder / "model/config.json",
            config.insert(config.find('{') + 1, "\"unused\": [NaN, -1e999], "));
  Ran ran;
  const internal::AttemptSpec spec = job.Spec("run", 1, "train: {max_steps: 3}");
  RunAttempt(spec, &ran);
  ASSERT_EQ(ran.record.end(), v1::Attempt::COMPLETED) << ran.record.error().message();
  const std::string written = ReadText(spec.run_dir() + "/final/config.json");
  EXPECT_THAT(written, HasSubstr("\"tie_word_embeddings\": false"));
  EXPECT_THAT(written, HasSubstr("NaN,\n    -1e999\n"));
}

TEST(OpenModelTest, RefusesTensorsThatTheModelWouldDrop) {
  TempDir folder;
  TinyJob job(folder);
  std::string config = ReadText(folder / "model/config.json");
  const size_t at = config.find("\"num_hidden_layers\": 2");
  ASSERT_NE(at, std::string::npos);
  WriteText(folder / "model/config.json", config.replace(at, 22, "\"num_hidden_layers\": 1"));
  Ran ran;
  RunAttempt(job.Spec("run", 1), &ran);
  ASSERT_EQ(ran.record.end(), v1::Attempt::FAILED);
  EXPECT_EQ(ran.record.error().code(), "MODEL_INVALID");
  EXPECT_THAT(ran.record.error().message(), HasSubstr("set \"num_hidden_layers\": 2"));
}

TEST(OpenModelTest, FinalModelStopsWhereTheTemplateEndsATurn) {
  TempDir folder;
  TinyJob job(folder);
  for (const std::string choice : {"model", "chatml"}) {
    const internal::AttemptSpec spec = job.Spec(
        choice, 1, absl::StrCat("train: {max_steps: 3}\ndata: {chat_template: ", choice, "}"));
    Ran ran;
    RunAttempt(spec, &ran);
    ASSERT_EQ(ran.record.end(), v1::Attempt::COMPLETED) << ran.record.error().message();
    EXPECT_EQ(ran.events.CountNotices("STOP_TOKEN"), 1);
    const auto tokenizer = Tokenizer::Load(spec.run_dir() + "/final");
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    EXPECT_THAT(*EosIdsOf(spec.run_dir() + "/final"),
                ::testing::Contains((*tokenizer)->TokenToId("<|im_end|>").value()));
    EXPECT_TRUE(std::filesystem::exists(spec.run_dir() + "/final/generation_config.json"));
  }
}

TEST(OpenModelTest, NeedsTheModelFolderOnlyForTheStartWeights) {
  TempDir folder;
  TinyJob job(folder);
  const std::string overrides = "checkpoint: {every_steps: 2}\ntrain: {max_steps: 6}";
  Ran whole;
  const internal::AttemptSpec uninterrupted = job.Spec("whole", 1, overrides);
  RunAttempt(uninterrupted, &whole);
  ASSERT_EQ(whole.record.end(), v1::Attempt::COMPLETED) << whole.record.error().message();

  Ran first, second;
  RunAttempt(job.Spec("run", 1, overrides), &first, StopAfterStep(2, StopMode::kStop));
  ASSERT_EQ(first.record.end(), v1::Attempt::STOPPED_OK);
  std::filesystem::rename(folder / "model", folder / "moved");
  const internal::AttemptSpec resumed = job.Spec("run", 2, overrides);
  RunAttempt(resumed, &second);
  ASSERT_EQ(second.record.end(), v1::Attempt::COMPLETED) << second.record.error().message();
  EXPECT_EQ(FinalHash(resumed), FinalHash(uninterrupted));
  for (const char* name : {"config.json", "tokenizer.json", "tokenizer_config.json"}) {
    EXPECT_EQ(ReadText(resumed.run_dir() + "/final/" + name), ReadText(folder / "moved/" + name));
  }
}

TEST(OpenModelTest, KeepsTheModelsFilesOfTheFirstAttempt) {
  TempDir folder;
  TinyJob job(folder);
  Ran first, second, third;
  // Paused before the first step: the second attempt starts from the weights again.
  RunAttempt(job.Spec("run", 1), &first, StopAfterStep(1, StopMode::kDiscard));
  const std::string config = ReadText(folder / "model/config.json");
  for (const char* name : {"config.json", "tokenizer.json", "tokenizer_config.json"})
    std::filesystem::remove(folder / absl::StrCat("model/", name));
  const internal::AttemptSpec again = job.Spec("run", 2, "train: {max_steps: 3}");
  ASSERT_TRUE(again.resume_path().empty());
  RunAttempt(again, &second);
  ASSERT_EQ(second.record.end(), v1::Attempt::COMPLETED) << second.record.error().message();
  EXPECT_EQ(ReadText(again.run_dir() + "/final/config.json"), config);
  // Without the weights, the error says what is missing.
  internal::AttemptSpec late = job.Spec("run", 3, "train: {max_steps: 3}");
  late.clear_resume_path();
  std::filesystem::remove_all(folder / "model");
  RunAttempt(late, &third);
  ASSERT_EQ(third.record.end(), v1::Attempt::FAILED);
  EXPECT_THAT(third.record.error().message(),
              ::testing::AllOf(HasSubstr(folder / "model has no weights"),
                               HasSubstr("from which the job starts; put the folder back")));
}

}  // namespace
}  // namespace trainerd::engine
