// SPDX-License-Identifier: Apache-2.0
// libFuzzer target: a byte that chooses the settings, then a data file (plain, gzip or zstd) →
// reader, parser, template, tokens, labels, with a small tokenizer of tests/golden. A row is a
// fault or holds together.
#include <algorithm>
#include <memory>

#include "engine/data/examples/example_pipeline.h"
#include "engine/data/examples/example_stream.h"
#include "tests/engine/fuzz_folder.h"
#include "tests/paths.h"

namespace trainerd::engine {
namespace {

constexpr int64_t kMaxLength = 64;

void Check(bool condition) {
  if (!condition) std::abort();
}

// One pipeline for each value of the first byte's low bits.
struct Variant {
  TextPipeline text;
  std::unique_ptr<ExamplePipeline> pipeline;
};

std::unique_ptr<Variant> MakeVariant(size_t bits) {
  using Data = v1::DataConfig;
  static constexpr Data::TrainOn kTrainOn[] = {Data::TRAIN_ON_ASSISTANT,
                                               Data::TRAIN_ON_LAST_ASSISTANT,
                                               Data::TRAIN_ON_TEMPLATE, Data::TRAIN_ON_ALL};
  static constexpr Data::ControlTokens kControlTokens[] = {
      Data::CONTROL_TOKENS_WARN, Data::CONTROL_TOKENS_AS_TEXT, Data::CONTROL_TOKENS_ERROR,
      Data::CONTROL_TOKENS_WARN};
  static constexpr Data::Profile kProfiles[] = {Data::PROFILE_NONE, Data::PROFILE_REGIME3};
  v1::JobConfig config;
  config.mutable_model()->set_path(TRAINERD_SOURCE_DIR + "/tests/golden/text/tokenizers/qwen3");
  v1::DataConfig& data = *config.mutable_data();
  data.set_max_length(kMaxLength);
  data.set_too_long(v1::DataConfig::TOO_LONG_TRUNCATE);
  data.set_train_on(kTrainOn[bits & 3]);
  data.set_control_tokens(kControlTokens[bits >> 2 & 3]);
  data.set_profile(kProfiles[bits >> 4 & 1]);
  data.set_system_prompt((bits >> 5 & 1) != 0 ? "Be é. <|im_end|>" : "");
  data.set_now("2026-01-02 03:04:05");
  data.set_chat_template(
      (bits & 3) == 2 ? TRAINERD_SOURCE_DIR + "/tests/golden/data/qwen3_marks.jinja" : "chatml");
  auto variant = std::make_unique<Variant>();
  auto text = OpenTextPipeline(config);
  Check(text.ok());
  variant->text = *std::move(text);
  auto pipeline = ExamplePipeline::Create(config, variant->text);
  Check(pipeline.ok());
  variant->pipeline = *std::move(pipeline);
  return variant;
}

absl::Status CheckRow(const TokenRow& row, int64_t line) {
  Check(line > 0);
  if (row.fault) {
    Check(!row.fault->code.empty() && !row.fault->message.empty() && row.fault->column >= 0);
    return absl::OkStatus();
  }
  const TokenExample& example = row.example;
  Check(example.ids.size() == example.labels.size());
  Check(example.ids.size() <= static_cast<size_t>(kMaxLength));
  int64_t trained = 0;
  for (size_t i = 0; i < example.ids.size(); ++i) {
    Check(example.labels[i] == kIgnoreIndex || example.labels[i] == example.ids[i]);
    trained += example.labels[i] != kIgnoreIndex;
  }
  Check(trained == example.span_tokens);
  Check((row.left_out == LeftOut::kNo) == (row.num_targets > 0));
  return absl::OkStatus();
}

void Run(const uint8_t* data, size_t size) {
  constexpr size_t kVariants = 64;
  static std::unique_ptr<Variant> variants[kVariants];
  static const testing::FuzzFolder folder;
  if (size == 0) return;
  std::unique_ptr<Variant>& variant = variants[data[0] % kVariants];
  if (variant == nullptr) variant = MakeVariant(data[0] % kVariants);
  const std::string path = folder.Write(
      "data.jsonl", std::string_view(reinterpret_cast<const char*>(data) + 1, size - 1));
  (void)StreamRows(
      path, *variant->pipeline, {.keep_text = true},
      [](const TokenRow& row, int64_t line) { return CheckRow(row, line); },
      [](int64_t bytes) {
        Check(bytes >= 0);
        return absl::OkStatus();
      });
}

}  // namespace
}  // namespace trainerd::engine

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  trainerd::engine::Run(data, size);
  return 0;
}
