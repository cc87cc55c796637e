// SPDX-License-Identifier: Apache-2.0
#include "engine/core/job_error.h"
#include "engine/train/stages/stages.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

absl::Status ResolveFrozen(AttemptContext& context) {
  const auto& patterns = context.config.train().freeze();
  absl::StatusOr<FrozenNames> frozen =
      ResolveFreeze(context.model, {patterns.begin(), patterns.end()});
  if (!frozen.ok()) {
    return WithCause(
        frozen.status(),
        {.code = "CONFIGURATION_INVALID", .cause = v1::JobError::USER, .retryable = false});
  }
  context.frozen = *std::move(frozen);
  return absl::OkStatus();
}

absl::Status ReadPrompts(AttemptContext& context) {
  absl::StatusOr<std::vector<SamplePrompt>> prompts =
      ReadSamplePrompts(context.config.samples().prompts(), context.config.data().system_prompt());
  if (!prompts.ok()) {
    return WithCause(prompts.status(),
                     {.code = "SAMPLE_PROMPTS", .cause = v1::JobError::USER, .retryable = false});
  }
  context.prompts = *std::move(prompts);
  return absl::OkStatus();
}

}  // namespace

absl::Status OpenModel(AttemptContext& context) {
  const std::string& folder = context.config.model().path();
  ASSIGN_OR_RETURN(context.model, ReadModelConfig(folder));
  RETURN_IF_ERROR(ResolveFrozen(context));
  ASSIGN_OR_RETURN(context.weights, HfFolder::Open(context.weights_folder));
  RETURN_IF_ERROR(context.weights->CheckComplete(context.model));
  ASSIGN_OR_RETURN(context.text, OpenTextPipeline(context.config));
  if (context.config.samples().prompts().empty()) return absl::OkStatus();
  RETURN_IF_ERROR(ReadPrompts(context));
  ASSIGN_OR_RETURN(
      context.sample_generator,
      SampleGenerator::Create(folder, *context.text.tokenizer, *context.text.chat_template,
                              {.now = context.config.data().now(),
                               .control_tokens_as_text = context.config.data().control_tokens() ==
                                                         v1::DataConfig::CONTROL_TOKENS_AS_TEXT}));
  return absl::OkStatus();
}

}  // namespace trainerd::engine
