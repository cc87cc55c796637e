// SPDX-License-Identifier: Apache-2.0
// What somebody has who is new here: a model folder in the manner of Qwen3, a file of rows, and a
// job that names the two and leaves all else to the defaults.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "engine/data/masking_check.h"
#include "engine/data/prepare.h"
#include "proto/contract/config/rules/job_config_rules.h"
#include "tests/engine/data/test_data.h"

namespace trainerd::engine {

// What kThinkingTemplate writes for an answer without reasoning.
inline constexpr char kNoThought[] = "<think>\n\n</think>\n\n";

// What matters in Qwen3's template: only the last turn keeps its reasoning, in a think block that
// is written even when it is empty; enable_thinking: false puts that block into the prompt; tool
// calls.
inline constexpr char kThinkingTemplate[] = R"({%- set at = namespace(question=-1) -%}
{%- for m in messages -%}
  {%- if m.role == 'user' -%}{%- set at.question = loop.index0 -%}{%- endif -%}
{%- endfor -%}
{%- for m in messages -%}
  {{- '<|im_start|>' + m.role + '\n' -}}
  {%- if m.role == 'assistant' -%}
    {%- set parts = (m.content or '').split('</think>') -%}
    {%- if loop.index0 > at.question and (loop.last or parts|length > 1) -%}
      {{- '<think>\n' -}}
      {%- if parts|length > 1 -%}{{- parts[0].split('<think>')[-1].strip('\n') -}}{%- endif -%}
      {{- '\n</think>\n\n' -}}
    {%- endif -%}
    {{- parts[-1].lstrip('\n') -}}
    {%- for call in m.tool_calls or [] -%}
      {{- '<tool_call>\n' + (call.function | tojson) + '\n</tool_call>' -}}
    {%- endfor -%}
  {%- else -%}
    {{- m.content -}}
  {%- endif -%}
  {{- '<|im_end|>\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
  {{- '<|im_start|>assistant\n' -}}
  {%- if enable_thinking is defined and enable_thinking is false -%}
    {{- '<think>\n\n</think>\n\n' -}}
  {%- endif -%}
{%- endif -%})";

// In the manner of the training template that TRL puts in its place: marks around each answer, with
// a think block in every turn and the newline behind the end token.
inline constexpr char kMarkedTemplate[] = R"({%- for m in messages -%}
  {{- '<|im_start|>' + m.role + '\n' -}}
  {%- if m.role == 'assistant' -%}
    {%- set parts = m.content.split('</think>') -%}
    {%- generation -%}
      {{- '<think>\n' -}}
      {%- if parts|length > 1 -%}{{- parts[0].split('<think>')[-1].strip('\n') -}}{%- endif -%}
      {{- '\n</think>\n\n' + parts[-1].lstrip('\n') + '<|im_end|>\n' -}}
    {%- endgeneration -%}
  {%- else -%}
    {{- m.content + '<|im_end|>\n' -}}
  {%- endif -%}
{%- endfor -%})";

// A record of the messages that User and Assistant write; `more` are further keys.
inline std::string Messages(const std::string& messages, const std::string& more = "") {
  return "{\"messages\":[" + messages + "]" + more + "}\n";
}
inline std::string User(const std::string& content) {
  return R"({"role":"user","content":)" + nlohmann::json(content).dump() + "}";
}
inline std::string Assistant(const std::string& content) {
  return R"({"role":"assistant","content":)" + nlohmann::json(content).dump() + "}";
}

class NewcomerFixture : public ::testing::Test {
 protected:
  NewcomerFixture() : model_(folder_.path() + "/model") {
    const std::string golden = TRAINERD_SOURCE_DIR + "/tests/golden/text/tokenizers/qwen3/";
    folder_.Write("model/chat_template.jinja", kThinkingTemplate);
    for (const char* file : {"tokenizer.json", "tokenizer_config.json"}) {
      std::filesystem::copy_file(golden + file, model_ + "/" + file);
    }
  }

  // The job with every default filled in.
  v1::JobConfig Job(const std::string& rows) const {
    v1::JobConfig config;
    config.mutable_model()->set_path(model_);
    config.mutable_data()->add_train()->set_path(folder_.Write("train.jsonl", rows));
    std::vector<ConfigViolation> violations;
    const v1::ResolvedJobConfig resolved =
        ResolveJobConfig(config, {.now = absl::UnixEpoch()}, &violations);
    EXPECT_TRUE(violations.empty()) << violations.front().message;
    return resolved.config();
  }
  v1::JobConfig MarkedJob(const std::string& rows) const {
    v1::JobConfig config = Job(rows);
    config.mutable_data()->set_chat_template(folder_.Write("marked.jinja", kMarkedTemplate));
    config.mutable_data()->set_train_on(v1::DataConfig::TRAIN_ON_TEMPLATE);
    return config;
  }

  absl::StatusOr<PreparedData> Prepare(const v1::JobConfig& config,
                                       const std::string& cache_folder = "") {
    absl::StatusOr<TextPipeline> text = OpenTextPipeline(config);
    if (!text.ok()) return text.status();
    absl::StatusOr<PreparedData> data =
        PrepareData(config, *text, nullptr, {.num_threads = 1, .cache_folder = cache_folder});
    text_ = *std::move(text);
    tokenizer_ = text_.tokenizer.get();
    return data;
  }
  // Why the job fails, without the folder's random name.
  std::string Fault(const v1::JobConfig& config) {
    const absl::StatusOr<PreparedData> data = Prepare(config);
    EXPECT_FALSE(data.ok());
    return WithoutFolder(std::string(data.status().message()));
  }
  std::string WithoutFolder(std::string text) const {
    for (size_t at; (at = text.find(folder_.path() + "/")) != std::string::npos;) {
      text.erase(at, folder_.path().size() + 1);
    }
    return text;
  }

  // The rendered conversation of the i-th example.
  std::string Text(const PreparedData& data, size_t i = 0) const {
    return tokenizer_->Decode(TrainExample(data, i).ids);
  }
  // Its trained runs.
  std::vector<std::string> Trained(const PreparedData& data, size_t i = 0) const {
    const TokenExample example = TrainExample(data, i);
    std::vector<std::vector<int32_t>> runs;
    for (size_t t = 0; t < example.labels.size(); ++t) {
      if (example.labels[t] == kIgnoreIndex) continue;
      if (t == 0 || example.labels[t - 1] == kIgnoreIndex) runs.emplace_back();
      runs.back().push_back(example.labels[t]);
    }
    std::vector<std::string> texts;
    for (const auto& run : runs) texts.push_back(tokenizer_->Decode(run));
    return texts;
  }
  // "CODE xCOUNT PLACE …" for each finding, errors with "!".
  std::vector<std::string> Findings(const PreparedData& data) const {
    std::vector<std::string> texts;
    for (const auto& finding : data.report.findings()) {
      std::string text =
          finding.code() + (finding.error() ? "! x" : " x") + std::to_string(finding.count());
      for (const std::string& place : finding.first_places()) text += " " + WithoutFolder(place);
      texts.push_back(text);
    }
    return texts;
  }
  // The message of the masking report's check content_form.
  std::string ContentForm(const PreparedData& data, const v1::JobConfig& job) const {
    const absl::StatusOr<v1::MaskingReport> report = CheckMasking(data, job, text_);
    EXPECT_TRUE(report.ok()) << report.status();
    for (const auto& check : report->checks()) {
      if (check.name() == "content_form") return check.message();
    }
    return "";
  }
  int64_t CountIds(const PreparedData& data, size_t i, const std::string& token) const {
    int64_t count = 0;
    for (const int32_t id : TrainExample(data, i).ids) {
      count += id == tokenizer_->TokenToId(token);
    }
    return count;
  }

  const TempDir folder_;
  const std::string model_;
  TextPipeline text_;  // of the last Prepare
  const Tokenizer* tokenizer_ = nullptr;
};

}  // namespace trainerd::engine
