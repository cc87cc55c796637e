// SPDX-License-Identifier: Apache-2.0
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/core/job_error.h"
#include "engine/model/folder/job_model.h"
#include "engine/train/kept_model.h"
#include "engine/train/stages/stages.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

constexpr char kModelTemplate[] = "model";

// Whether the error is about a key of the job, not about the model.
bool IsAboutJob(const std::string& code) {
  return code == "FREEZE" || code == "LORA" || code == "ADAPTER" || code == kNoOptimizerState;
}

// The first error, with the cause of its kind.
absl::Status StatusOf(const JobModel& model) {
  for (const ModelFinding& finding : model.findings) {
    if (finding.status.ok() || !IsAboutJob(finding.code)) continue;
    return WithCause(
        finding.status,
        {.code = "CONFIGURATION_INVALID", .cause = v1::JobError::USER, .retryable = false});
  }
  return model.status();
}

// Keeps the model's small files in the run directory, as the first attempt of a job does.
absl::Status Keep(AttemptContext& context, const JobModel& model, bool is_untied) {
  KeptModelChanges changes{.end_of_turn = model.probe.end_of_turn, .is_untied = is_untied};
  if (context.config.data().chat_template() != kModelTemplate)
    changes.chat_template = model.text.chat_template->source();
  const absl::StatusOr<bool> has_new_stop = KeepModelFiles(context.spec, changes);
  if (!has_new_stop.ok()) {
    return WithCause(Annotate(has_new_stop.status(), "keep the files of the model"),
                     WriteCause(has_new_stop.status(), "RUN_DIRECTORY"));
  }
  if (!*has_new_stop) return absl::OkStatus();
  const int32_t id = *model.probe.end_of_turn;
  EmitNotice(context.events, v1::Notice::INFO, "STOP_TOKEN",
             absl::StrCat("the chat template ends a turn with \"",
                          std::string(model.text.tokenizer->IdToToken(id)), "\" (id ", id,
                          "): generation_config.json of the checkpoints and the final model names "
                          "it in eos_token_id"));
  return absl::OkStatus();
}

// A checkpoint of the job itself says what the job started from.
absl::Status SetStartFingerprint(AttemptContext& context) {
  if (!context.config.has_preference()) return absl::OkStatus();
  context.model_fingerprint = context.start_is_resume ? context.start->state.model_fingerprint
                                                      : context.weights->Fingerprint(context.model);
  return absl::OkStatus();
}

// With lora, checkpoints do not hold the model, so another one may be in model.path by now.
absl::Status CheckModelIdentity(AttemptContext& context) {
  if (!context.adapter.has_value()) return SetStartFingerprint(context);
  context.model_fingerprint = context.weights->Fingerprint(context.model);
  if (!context.start.has_value() ||
      context.start->state.model_fingerprint == context.model_fingerprint)
    return absl::OkStatus();
  const std::string what =
      absl::StrCat("the weights in model.path ", context.weights_folder,
                   " are not those that the adapter in ", context.start->folder, " was trained on");
  if (!context.start_is_resume) {
    EmitNotice(context.events, v1::Notice::WARNING, "INIT_FROM_MODEL_DIFFERS", what);
    return absl::OkStatus();
  }
  return WithCause(
      absl::FailedPreconditionError(absl::StrCat(
          what, "; put them back, or start a new job from the checkpoint with init_from")),
      {.code = "MODEL_CHANGED", .cause = v1::JobError::USER, .retryable = false});
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

absl::Status OpenSamples(AttemptContext& context) {
  if (context.config.samples().prompts().empty()) return absl::OkStatus();
  RETURN_IF_ERROR(ReadPrompts(context));
  ASSIGN_OR_RETURN(
      context.sample_generator,
      SampleGenerator::Create(KeptModelFolder(context.spec.run_dir()), *context.text.tokenizer,
                              *context.text.chat_template,
                              {.now = context.config.data().now(),
                               .control_tokens_as_text = context.config.data().control_tokens() ==
                                                         v1::DataConfig::CONTROL_TOKENS_AS_TEXT}));
  return absl::OkStatus();
}

}  // namespace

absl::Status OpenModel(AttemptContext& context) {
  const std::string kept = KeptModelFolder(context.spec.run_dir());
  std::error_code error;
  const bool is_kept = std::filesystem::exists(kept, error);
  v1::JobConfig config = context.config;
  if (is_kept) {
    // A template that the job selected is the model's own there.
    config.mutable_model()->set_path(kept);
    config.mutable_data()->set_chat_template(kModelTemplate);
  }
  JobModel model = OpenJobModel(config, {.weights_folder = context.weights_folder,
                                         .adapter_folder = context.adapter_folder,
                                         .with_optimizer_state = context.start.has_value()});
  RETURN_IF_ERROR(StatusOf(model));
  bool is_untied = false;
  for (const ModelFinding& warning : model.findings) {
    EmitNotice(context.events, v1::Notice::WARNING, warning.code, warning.message);
    is_untied = is_untied || warning.code == kUntiedHead;
  }
  if (!is_kept) RETURN_IF_ERROR(Keep(context, model, is_untied));
  context.model = std::move(model.config);
  context.frozen = std::move(model.frozen);
  context.weights = std::move(model.weights);
  context.adapter = std::move(model.adapter);
  context.adapter_weights = std::move(model.adapter_weights);
  context.text = std::move(model.text);
  RETURN_IF_ERROR(CheckModelIdentity(context));
  return OpenSamples(context);
}

}  // namespace trainerd::engine
