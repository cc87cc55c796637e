// SPDX-License-Identifier: Apache-2.0
// What tests of whole jobs share: a temporary folder, a model of a few thousand random weights with
// the tokenizer of tests/golden/tiny_tokenizer, conversations, a resolved job configuration, and a
// sink that stores the events.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "engine/checkpoint/checkpoint_name.h"
#include "engine/checkpoint/run_folder.h"
#include "engine/cli/init_model_command.h"
#include "engine/formats/safetensors.h"
#include "engine/run_job.h"
#include "proto/base/atomic_file.h"
#include "proto/base/hash.h"
#include "proto/contract/config/config_violation.h"
#include "proto/contract/config/rules/job_config_rules.h"
#include "proto/contract/job_file/yaml_to_proto.h"
#include "proto/contract/run_dir/attempt_files.h"
#include "tests/engine/test_device.h"
#include "tests/paths.h"
#include "tests/temp_dir.h"

namespace trainerd::engine::testing {

inline void WriteText(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  ASSERT_TRUE(file.good()) << path;
}

inline std::string ReadText(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

inline std::string FileHash(const std::string& path) { return ToHex(Xxh3(ReadText(path))); }

// A model with random weights; by default a 2-layer Llama.
inline void MakeTinyModel(const std::string& folder, const std::string& dtype = "fp32",
                          uint64_t seed = 7,
                          const std::string& config = TRAINERD_SOURCE_DIR +
                                                      "/tests/golden/tiny_model/config.json") {
  const absl::Status made =
      InitModel({.config_path = config,
                 .output = folder,
                 .tokenizer = TRAINERD_SOURCE_DIR + "/tests/golden/tiny_tokenizer",
                 .seed = seed,
                 .dtype = dtype});
  ASSERT_TRUE(made.ok()) << made;
}

// Adds a head of its own to the fp32 model of `folder`, whose config.json ties it.
inline void AddHead(const std::string& folder) {
  const auto file = SafetensorsFile::Open(folder + "/model.safetensors");
  ASSERT_TRUE(file.ok()) << file.status();
  std::vector<SafetensorsWriter::Declared> declared;
  for (const TensorInfo& info : (*file)->tensors())
    declared.push_back({info.name, info.dtype, info.shape});
  const TensorInfo& embedding = *(*file)->Find("model.embed_tokens.weight");
  declared.push_back({"lm_head.weight", embedding.dtype, embedding.shape});
  auto writer = SafetensorsWriter::Create(folder + "/new", declared);
  ASSERT_TRUE(writer.ok()) << writer.status();
  for (const TensorInfo& info : (*file)->tensors()) {
    const std::string_view bytes = (*file)->Bytes(info);
    ASSERT_TRUE((*writer)->Append(bytes.data(), bytes.size()).ok());
  }
  const std::vector<float> head(static_cast<size_t>(embedding.size_bytes / 4), 0.01F);
  ASSERT_TRUE((*writer)->Append(head.data(), head.size() * 4).ok());
  ASSERT_TRUE((*writer)->Finish().ok());
  std::filesystem::rename(folder + "/new", folder + "/model.safetensors");
}

// `count` short conversations of different lengths.
inline void WriteConversations(const std::string& path, int count) {
  std::string text;
  for (int i = 0; i < count; ++i) {
    absl::StrAppend(&text, R"({"messages": [{"role": "user", "content": "What comes after )", i,
                    std::string(static_cast<size_t>(i % 5) * 7, '.'),
                    R"(?"}, {"role": "assistant", "content": "After )", i, " comes ", i + 1, "",
                    std::string(static_cast<size_t>(i % 3) * 5, '!'), R"("}]})", "\n");
  }
  WriteText(path, text);
}

// Defaults of the tests: 24 conversations, 2 epochs, 2 microbatches of 2 sequences, cosine with
// warm-up, shuffled; `overrides` is YAML over them.
class TinyJob {
 public:
  explicit TinyJob(const TempDir& folder, const std::string& dtype = "fp32",
                   const std::string& config = TRAINERD_SOURCE_DIR +
                                               "/tests/golden/tiny_model/config.json")
      : folder_(folder) {
    MakeTinyModel(folder_ / "model", dtype, /*seed=*/7, config);
    WriteConversations(folder_ / "train.jsonl", 24);
    WriteConversations(folder_ / "validation.jsonl", 5);
  }

  v1::ResolvedJobConfig Config(const std::string& overrides = "") const {
    v1::JobConfig config;
    const std::string yaml = absl::StrCat(
        "model: {path: ", folder_ / "model", "}\ndata: {train: ", folder_ / "train.jsonl",
        ", validation: ", folder_ / "validation.jsonl",
        ", max_length: 96, packing: none, now: \"2026-01-02 03:04:05\"}\n",
        "train: {precision: fp32, batch_size: 2, gradient_accumulation: 2, epochs: 2}\n",
        "optimizer: {learning_rate: 1.0e-2}\nschedule: {type: cosine, warmup_steps: 2}\n",
        "checkpoint: {every_steps: 0}\nevaluation: {at_start: false, at_end: false}\nresources: "
        "{device: cpu}\n");
    EXPECT_TRUE(YamlToMessage(yaml, &config).violations.empty());
    const YamlResult read = YamlToMessage(overrides, &config);
    EXPECT_TRUE(read.violations.empty()) << ViolationsText(read.violations);
    std::vector<ConfigViolation> violations;
    v1::ResolvedJobConfig resolved =
        ResolveJobConfig(config, {.now = absl::UnixEpoch()}, &violations);
    EXPECT_TRUE(violations.empty()) << ViolationsText(violations);
    return resolved;
  }

  // Attempt `attempt` in FOLDER/`run`, continuing from the newest checkpoint there.
  internal::AttemptSpec Spec(const std::string& run, int attempt,
                             const std::string& overrides = "") const {
    internal::AttemptSpec spec;
    spec.set_job("jobs/0123456789ab");
    spec.set_attempt(attempt);
    spec.set_run_dir(folder_ / run);
    spec.add_devices(TestDeviceName());
    *spec.mutable_config() = Config(overrides);
    std::filesystem::create_directories(spec.run_dir());
    EXPECT_TRUE(WritePublisher(spec.run_dir(), attempt).ok());
    std::vector<std::string> skipped;
    const auto resume = FindResumePoint(spec.run_dir(), &skipped);
    EXPECT_TRUE(resume.ok()) << resume.status();
    if (resume.ok() && resume->has_value()) {
      spec.set_resume_path((*resume)->path);
      spec.set_resume_name(absl::StrCat(spec.job(), "/checkpoints/", (*resume)->id));
    }
    return spec;
  }

  const TempDir& folder() const { return folder_; }

 private:
  const TempDir& folder_;
};

// Overrides of several tests: another optimizer with state; frozen parameters (more keys of train).
inline constexpr char kMomentum[] =
    "optimizer: {type: sgd, learning_rate: 0.1, momentum: 0.9, nesterov: true}";
inline constexpr char kFreeze[] =
    ", freeze: [model.embed_tokens.*, model.layers.0.*, \"*.1.self_attn.k_proj.*\"]";

class RecordingSink : public EventSink {
 public:
  void Emit(v1::Event event) override {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      events_.push_back(event);
    }
    if (on_event) on_event(event);
  }
  const std::vector<v1::Event>& events() const { return events_; }
  std::function<void(const v1::Event&)> on_event;

  std::vector<std::string> Stages() const {
    std::vector<std::string> names;
    for (const v1::Event& event : events_) {
      if (event.has_stage() && event.stage().finished()) names.push_back(event.stage().stage());
    }
    return names;
  }
  std::map<int64_t, double> Losses() const {
    std::map<int64_t, double> losses;
    for (const v1::Event& event : events_) {
      if (event.has_metrics()) losses[event.metrics().step()] = event.metrics().loss();
    }
    return losses;
  }
  std::vector<int64_t> EvaluatedSteps() const {
    std::vector<int64_t> steps;
    for (const v1::Event& event : events_) {
      if (event.has_eval()) steps.push_back(event.eval().step());
    }
    return steps;
  }
  int CountNotices(const std::string& code) const {
    int count = 0;
    for (const v1::Event& event : events_) count += event.notice().code() == code ? 1 : 0;
    return count;
  }

 private:
  std::mutex mutex_;
  std::vector<v1::Event> events_;
};

// Runs an attempt; `on_event` may send requests through the control while it runs.
struct Ran {
  internal::WorkerExitRecord record;
  RecordingSink events;
};
inline void RunAttempt(
    const internal::AttemptSpec& spec, Ran* ran,
    const std::function<void(const v1::Event&, RunControl&)>& on_event = nullptr) {
  RunControl control;
  if (on_event) ran->events.on_event = [&](const v1::Event& event) { on_event(event, control); };
  ran->record = RunJob(spec, ran->events, control);
}

// Requests `stop_mode` once the metrics of `step` are emitted.
inline std::function<void(const v1::Event&, RunControl&)> StopAfterStep(int64_t step,
                                                                        StopMode stop_mode) {
  return [step, stop_mode](const v1::Event& event, RunControl& control) {
    if (event.has_metrics() && event.metrics().step() == step) control.RequestStop(stop_mode);
  };
}

inline std::string FinalHash(const internal::AttemptSpec& spec) {
  return FileHash(spec.run_dir() + "/final/model.safetensors");
}

// The first notice with this code; "" = none.
inline std::string NoticeText(const Ran& ran, const std::string& code) {
  for (const v1::Event& event : ran.events.events()) {
    if (event.notice().code() == code) return event.notice().message();
  }
  return "";
}

// A spec that starts from `checkpoint` with its full state.
inline internal::AttemptSpec StartFrom(const TinyJob& job, const std::string& checkpoint,
                                       const std::string& run, const std::string& overrides) {
  internal::AttemptSpec spec = job.Spec(
      run, 1, absl::StrCat(overrides, "\ninit_from: {checkpoint: ", checkpoint, ", state: full}"));
  spec.set_init_path(checkpoint);
  return spec;
}

}  // namespace trainerd::engine::testing
