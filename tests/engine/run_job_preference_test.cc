// SPDX-License-Identifier: Apache-2.0
// Whole jobs of a tiny model that learn from pairs of answers: the reference's log-probabilities,
// the file that keeps them, and the resumed job. Expectations come from the same job without
// interruption, and from an untrained policy, which is its reference.
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/run_job.h"
#include "engine/train/reference_file.h"
#include "tests/engine/train/tiny_run.h"

namespace trainerd::engine {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using testing::FileHash;
using ::testing::HasSubstr;
using testing::kFreeze;
using ::testing::Not;
using testing::NoticeText;
using testing::Ran;
using testing::ReadText;
using testing::RunAttempt;
using testing::StartFrom;
using testing::StopAfterStep;
using testing::TinyJob;
using testing::WriteText;

std::string Pairs(int count, int first) {
  std::string text;
  for (int i = first; i < first + count; ++i) {
    absl::StrAppend(&text, R"({"prompt": [{"role": "user", "content": "What is )", i,
                    std::string(static_cast<size_t>(i % 4) * 6, '.'),
                    R"(?"}], "chosen": [{"role": "assistant", "content": "It is )", i + 1,
                    std::string(static_cast<size_t>(i % 3) * 4, '!'),
                    R"("}], "rejected": [{"role": "assistant", "content": "No)",
                    std::string(static_cast<size_t>(i % 5) * 3, '?'), "\"}]}\n");
  }
  return text;
}

constexpr char kDpo[] = "preference: {beta: 0.2}\noptimizer: {learning_rate: 2.0e-3}\n";

// A job over 14 pairs and 5 of validation.
class PairJob : public TinyJob {
 public:
  explicit PairJob(const TempDir& folder, const std::string& dtype = "fp32")
      : TinyJob(folder, dtype) {
    // For matrices this small, a second thread costs more than it saves.
    at::set_num_threads(1);
    WriteText(folder / "train.jsonl", Pairs(14, 0));
    WriteText(folder / "validation.jsonl", Pairs(5, 100));
  }
};

internal::AttemptSpec Complete(const TinyJob& job, const std::string& run,
                               const std::string& overrides, Ran* ran) {
  internal::AttemptSpec spec = job.Spec(run, 1, overrides);
  RunAttempt(spec, ran);
  EXPECT_EQ(ran->record.end(), v1::Attempt::COMPLETED) << ran->record.error().message();
  return spec;
}

std::vector<double> EvaluationLosses(const Ran& ran) {
  std::vector<double> losses;
  for (const v1::Event& event : ran.events.events()) {
    if (event.has_eval()) losses.push_back(event.eval().loss());
  }
  return losses;
}

std::string FinalHash(const internal::AttemptSpec& spec) {
  const std::string adapter = spec.run_dir() + "/final/adapter_model.safetensors";
  return std::filesystem::exists(adapter) ? FileHash(adapter) : testing::FinalHash(spec);
}

TEST(RunJobPreferenceTest, LearnsToPreferTheChosenAnswers) {
  TempDir folder;
  PairJob job(folder);
  for (const bool is_ipo : {false, true}) {
    Ran ran;
    Complete(job, is_ipo ? "ipo" : "sigmoid",
             absl::StrCat(is_ipo ? "preference: {loss: ipo, beta: 0.5}\noptimizer: "
                                   "{learning_rate: 2.0e-3}\n"
                                 : kDpo,
                          "train: {epochs: 4}\nevaluation: {at_start: true, at_end: true}"),
             &ran);
    // The untrained policy is the reference.
    const double equal = is_ipo ? 1.0 : std::log(2.0);
    const std::map<int64_t, double> losses = ran.events.Losses();
    EXPECT_NEAR(losses.begin()->second, equal, 1e-4);
    EXPECT_LT(losses.rbegin()->second, 0.9 * equal);
    ASSERT_EQ(EvaluationLosses(ran).size(), 2u);
    EXPECT_NEAR(EvaluationLosses(ran)[0], equal, 1e-4);
    EXPECT_LT(EvaluationLosses(ran)[1], 0.95 * equal);
    v1::PreferenceMetrics last;
    for (const v1::Event& event : ran.events.events()) {
      if (!event.has_metrics()) continue;
      ASSERT_TRUE(event.metrics().has_preference());
      last = event.metrics().preference();
      EXPECT_DOUBLE_EQ(last.margin(), last.chosen_reward() - last.rejected_reward());
    }
    EXPECT_GT(last.margin(), 0.05);
    EXPECT_GT(last.accuracy(), 0.5);
    EXPECT_LT(last.chosen_log_probability(), 0.0);
    EXPECT_THAT(ran.events.Stages(), Contains("ComputeReference"));
  }
}

TEST(RunJobPreferenceTest, OtherJobsHaveNoReference) {
  TempDir folder;
  TinyJob job(folder);
  Ran ran;
  const internal::AttemptSpec spec = Complete(job, "run", "train: {epochs: 1}", &ran);
  EXPECT_THAT(ran.events.Stages(), Not(Contains("ComputeReference")));
  EXPECT_FALSE(std::filesystem::exists(ReferenceFilePath(spec.run_dir())));
  for (const v1::Event& event : ran.events.events()) EXPECT_FALSE(event.metrics().has_preference());
}

// Neither the batches of training nor accumulation change the reference; both train the same.
TEST(RunJobPreferenceTest, AccumulationChangesNothing) {
  TempDir folder;
  PairJob job(folder);
  Ran two, four;
  const std::string keys = absl::StrCat(kDpo, "train: {batch_size: ");
  const auto a = Complete(job, "two", absl::StrCat(keys, "2, gradient_accumulation: 2}"), &two),
             b = Complete(job, "four", absl::StrCat(keys, "4, gradient_accumulation: 1}"), &four);
  EXPECT_EQ(ReadText(ReferenceFilePath(a.run_dir())), ReadText(ReferenceFilePath(b.run_dir())));
  const std::map<int64_t, double> losses = four.events.Losses();
  for (const auto& [step, loss] : two.events.Losses())
    EXPECT_NEAR(loss, losses.at(step), 1e-5) << step;
}

struct ResumeCase {
  std::string name, precision, packing, dtype, train_keys, sections;
};

class PreferenceResumeTest : public ::testing::TestWithParam<ResumeCase> {};

TEST_P(PreferenceResumeTest, EndsWithBytesOfUninterruptedJob) {
  TempDir folder;
  PairJob job(folder, GetParam().dtype);
  const std::string overrides =
      absl::StrCat("train: {precision: ", GetParam().precision, GetParam().train_keys,
                   "}\ndata: {packing: ", GetParam().packing, "}\npreference: {beta: 0.2}\n",
                   GetParam().sections);
  Ran whole;
  const internal::AttemptSpec uninterrupted = Complete(job, "uninterrupted", overrides, &whole);
  const int64_t total = whole.record.last_step();
  ASSERT_GE(total, 3);
  const std::string file = ReadText(ReferenceFilePath(uninterrupted.run_dir()));
  std::map<int64_t, double> losses;
  const auto add = [&](const Ran& ran) {
    for (const auto& [step, loss] : ran.events.Losses()) losses[step] = loss;
  };
  Ran first, second, third;
  RunAttempt(job.Spec("stopped", 1, overrides), &first, StopAfterStep(1, StopMode::kPause));
  ASSERT_EQ(first.record.end(), v1::Attempt::PAUSED_OK) << first.record.error().message();
  add(first);
  // The file is read, not computed again.
  const internal::AttemptSpec again = job.Spec("stopped", 2, overrides);
  EXPECT_EQ(ReadText(ReferenceFilePath(again.run_dir())), file);
  const auto written = std::filesystem::last_write_time(ReferenceFilePath(again.run_dir()));
  RunAttempt(again, &second, StopAfterStep(total - 1, StopMode::kStop));
  ASSERT_EQ(second.record.end(), v1::Attempt::STOPPED_OK) << second.record.error().message();
  EXPECT_EQ(second.events.CountNotices("REFERENCE_FILE"), 0);
  EXPECT_EQ(std::filesystem::last_write_time(ReferenceFilePath(again.run_dir())), written);
  add(second);
  // Without it, the weights of the start compute it again.
  std::filesystem::remove(ReferenceFilePath(again.run_dir()));
  const internal::AttemptSpec last = job.Spec("stopped", 3, overrides);
  RunAttempt(last, &third);
  ASSERT_EQ(third.record.end(), v1::Attempt::COMPLETED) << third.record.error().message();
  EXPECT_THAT(NoticeText(third, "REFERENCE_FILE"), HasSubstr("computed again from the weights of"));
  add(third);
  EXPECT_EQ(ReadText(ReferenceFilePath(last.run_dir())), file);
  EXPECT_EQ(losses, whole.events.Losses());
  EXPECT_EQ(FinalHash(last), FinalHash(uninterrupted));
}

constexpr char kAdapter[] = "lora: {r: 4, alpha: 8, dropout: 0.1}\n";
INSTANTIATE_TEST_SUITE_P(
    Methods, PreferenceResumeTest,
    ::testing::Values(ResumeCase{"full_fp32", "fp32", "none", "fp32", "", ""},
                      ResumeCase{"full_bf16", "bf16", "bfd", "fp32", "", ""},
                      ResumeCase{"freeze", "bf16", "none", "bf16", kFreeze, ""},
                      ResumeCase{"lora", "fp32", "bfd", "fp32", "", kAdapter},
                      ResumeCase{"qlora", "bf16", "bfd", "bf16", "",
                                 absl::StrCat(kAdapter, "model: {quantization: nf4}\n")},
                      ResumeCase{"bf16_sr", "bf16_sr", "bfd", "bf16", "", ""},
                      ResumeCase{"muon", "fp32", "none", "fp32", "", "optimizer: {type: muon}\n"},
                      ResumeCase{"adamw_8bit", "fp32", "bfd", "bf16",
                                 ", activation_checkpointing: full",
                                 "optimizer: {type: adamw_8bit}\n"}),
    [](const auto& info) { return info.param.name; });

// The reference is the model without the adapter that the job starts from.
TEST(RunJobPreferenceTest, AdapterOfTheStartIsNotPartOfTheReference) {
  TempDir folder;
  PairJob job(folder);
  Ran first, second;
  const auto adapter =
      Complete(job, "first", absl::StrCat(kDpo, "lora: {r: 4}\ntrain: {epochs: 4}"), &first);
  const auto continued =
      Complete(job, "second",
               absl::StrCat(kDpo, "lora: {adapter_path: ", adapter.run_dir(), "/final}"), &second);
  EXPECT_EQ(ReadText(ReferenceFilePath(continued.run_dir())),
            ReadText(ReferenceFilePath(adapter.run_dir())));
  EXPECT_LT(second.events.Losses().begin()->second, std::log(2.0) - 0.01);
}

// A job that continues another one starts from its weights, so these are its reference.
TEST(RunJobPreferenceTest, ReferenceOfAContinuedJobIsItsOwnStart) {
  TempDir folder;
  PairJob job(folder, "bf16");
  Ran first, whole, paused, resumed;
  RunAttempt(job.Spec("first", 1, kDpo), &first, StopAfterStep(3, StopMode::kStop));
  ASSERT_EQ(first.record.end(), v1::Attempt::STOPPED_OK) << first.record.error().message();
  const std::string start = first.record.last_checkpoint().path();
  const internal::AttemptSpec uninterrupted = StartFrom(job, start, "whole", kDpo);
  RunAttempt(uninterrupted, &whole);
  ASSERT_EQ(whole.record.end(), v1::Attempt::COMPLETED) << whole.record.error().message();
  // fp32 masters over a model file in bf16: the policy is its reference all the same.
  EXPECT_NEAR(whole.events.Losses().begin()->second, std::log(2.0), 1e-4);
  RunAttempt(StartFrom(job, start, "resumed", kDpo), &paused, StopAfterStep(5, StopMode::kPause));
  ASSERT_EQ(paused.record.end(), v1::Attempt::PAUSED_OK) << paused.record.error().message();
  internal::AttemptSpec again = job.Spec(
      "resumed", 2, absl::StrCat(kDpo, "\ninit_from: {checkpoint: ", start, ", state: full}"));
  again.set_init_path(start);
  std::filesystem::remove(ReferenceFilePath(again.run_dir()));
  RunAttempt(again, &resumed);
  ASSERT_EQ(resumed.record.end(), v1::Attempt::COMPLETED) << resumed.record.error().message();
  EXPECT_EQ(FinalHash(again), FinalHash(uninterrupted));
}

TEST(RunJobPreferenceTest, ChangedOrDamagedFileIsComputedAgain) {
  TempDir folder;
  PairJob job(folder);
  Ran whole;
  const internal::AttemptSpec expected = Complete(job, "whole", kDpo, &whole);
  const std::string file = ReadText(ReferenceFilePath(expected.run_dir()));
  std::string damaged = file;
  int number = 0;
  damaged[70] = static_cast<char>(damaged[70] ^ 1);
  for (const std::string& bytes :
       {damaged, std::string(), file.substr(0, file.size() - 5), std::string("TRNDREFS")}) {
    const std::string run = absl::StrCat("run", ++number);
    Ran paused, resumed;
    RunAttempt(job.Spec(run, 1, kDpo), &paused, StopAfterStep(2, StopMode::kPause));
    const internal::AttemptSpec spec = job.Spec(run, 2, kDpo);
    WriteText(ReferenceFilePath(spec.run_dir()), bytes);
    RunAttempt(spec, &resumed);
    ASSERT_EQ(resumed.record.end(), v1::Attempt::COMPLETED) << resumed.record.error().message();
    EXPECT_THAT(NoticeText(resumed, "REFERENCE_FILE"), HasSubstr("reference.bin is damaged"));
    EXPECT_EQ(ReadText(ReferenceFilePath(spec.run_dir())), file);
    EXPECT_EQ(FinalHash(spec), FinalHash(expected));
  }
}

// Before the first step, another model or other pairs give another reference.
TEST(RunJobPreferenceTest, FileOfAnotherModelIsNotUsed) {
  TempDir folder;
  PairJob job(folder);
  Ran first, second;
  RunAttempt(job.Spec("run", 1, kDpo), &first, [](const v1::Event& event, RunControl& control) {
    if (event.stage().stage() == "Train") control.RequestStop(StopMode::kPause);
  });
  ASSERT_EQ(first.record.end(), v1::Attempt::PAUSED_OK) << first.record.error().message();
  testing::MakeTinyModel(folder / "other", "fp32", /*seed=*/8);
  std::filesystem::rename(folder / "other/model.safetensors", folder / "model/model.safetensors");
  RunAttempt(job.Spec("run", 2, kDpo), &second);
  ASSERT_EQ(second.record.end(), v1::Attempt::COMPLETED) << second.record.error().message();
  EXPECT_THAT(NoticeText(second, "REFERENCE_FILE"), HasSubstr("of another model"));
  EXPECT_NEAR(second.events.Losses().begin()->second, std::log(2.0), 1e-4);
}

TEST(RunJobPreferenceTest, RefusesToComputeTheReferenceFromOtherWeights) {
  TempDir folder;
  PairJob job(folder);
  Ran paused, resumed;
  RunAttempt(job.Spec("run", 1, kDpo), &paused, StopAfterStep(2, StopMode::kPause));
  std::filesystem::remove(ReferenceFilePath(folder / "run"));
  testing::MakeTinyModel(folder / "other", "fp32", /*seed=*/8);
  std::filesystem::rename(folder / "other/model.safetensors", folder / "model/model.safetensors");
  RunAttempt(job.Spec("run", 2, kDpo), &resumed);
  ASSERT_EQ(resumed.record.end(), v1::Attempt::FAILED);
  EXPECT_EQ(resumed.record.error().code(), "REFERENCE_LOST");
  EXPECT_FALSE(resumed.record.error().retryable());
  EXPECT_THAT(resumed.record.error().message(),
              AllOf(HasSubstr("reference.bin"), HasSubstr(folder / "model"),
                    HasSubstr("are not those of the start")));
}

// A pause while the reference is computed keeps what is done, and the next attempt adds the rest.
TEST(RunJobPreferenceTest, InterruptedComputationIsContinued) {
  TempDir folder;
  PairJob job(folder);
  Ran whole, paused, resumed;
  const internal::AttemptSpec expected = Complete(job, "whole", kDpo, &whole);
  RunAttempt(job.Spec("run", 1, kDpo), &paused, [](const v1::Event& event, RunControl& control) {
    if (event.stage().stage() == "ComputeReference") control.RequestStop(StopMode::kPause);
  });
  ASSERT_EQ(paused.record.end(), v1::Attempt::PAUSED_OK) << paused.record.error().message();
  EXPECT_TRUE(std::filesystem::exists(ReferenceFilePath(folder / "run")));
  // As if it had been interrupted after several pairs: whole batches count, others are dropped.
  const std::string file = ReadText(ReferenceFilePath(expected.run_dir()));
  const ReferenceHeader header{.key = file.substr(16, 32), .pairs = 19};
  const std::vector<double> values = *ReadReferenceFile(expected.run_dir(), header);
  ASSERT_EQ(values.size(), 38u);
  for (const size_t pairs : {size_t{0}, size_t{1}, size_t{7}, size_t{18}}) {
    ASSERT_TRUE(WriteReferenceFile(folder / "run", 1, header,
                                   absl::MakeConstSpan(values).subspan(0, 2 * pairs))
                    .ok());
    EXPECT_EQ(ReadReferenceFile(folder / "run", header)->size(), 2 * pairs);
    std::filesystem::remove_all(folder / "copy");
    std::filesystem::copy(folder / "run", folder / "copy",
                          std::filesystem::copy_options::recursive);
    const internal::AttemptSpec spec = job.Spec("copy", 2, kDpo);
    Ran ran;
    RunAttempt(spec, &ran);
    ASSERT_EQ(ran.record.end(), v1::Attempt::COMPLETED) << ran.record.error().message();
    EXPECT_EQ(ReadText(ReferenceFilePath(spec.run_dir())), file);
    EXPECT_EQ(FinalHash(spec), FinalHash(expected));
  }
}

}  // namespace
}  // namespace trainerd::engine
