// SPDX-License-Identifier: Apache-2.0
// What the files of a model folder show about a job before any record or weight is read. The worker
// opens a job's model with it, and trainerd-inspect validates with it, so both find the same and
// use the same words.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "engine/data/source/text_pipeline.h"
#include "engine/model/adapter/adapter_folder.h"
#include "engine/model/config/model_config.h"
#include "engine/model/folder/adapter.h"
#include "engine/model/folder/answer_probe.h"
#include "engine/model/folder/freeze.h"
#include "engine/model/folder/hf_folder.h"
#include "trainerd/v1/job_config.pb.h"

namespace trainerd::engine {

// The code of the warning that the model is untied, unlike config.json.
inline constexpr char kUntiedHead[] = "UNTIED_HEAD";
// The code of the error that the checkpoint's optimizer state does not fit the job.
inline constexpr char kNoOptimizerState[] = "OPTIMIZER_STATE";

struct ModelFinding {
  // Stable word, as in DataReport.Finding.
  std::string code;
  // The file or folder it is about.
  std::string place;
  // Not OK for an error, which ends the job.
  absl::Status status;
  // The status' message, or that of a warning.
  std::string message;
};

struct JobModel {
  // Without errors, all of these are set, but for `weights` without a weights folder.
  ModelConfig config;
  FrozenNames frozen;
  std::unique_ptr<HfFolder> weights;
  // Of a job with lora.
  std::optional<AdapterSpec> adapter;
  // The adapter that the job starts from, if there is one.
  std::unique_ptr<AdapterFolder> adapter_weights;
  TextPipeline text;
  AnswerProbe probe;

  // Codes of errors: MODEL_FOLDER (missing files), MODEL_CONFIG, MODEL_WEIGHTS, UNEXPECTED_TENSORS,
  // FREEZE, LORA (target_modules), ADAPTER (the adapter to start from), OPTIMIZER_STATE, TOKENIZER,
  // TEMPLATE_FILE, CHAT_TEMPLATE, TOKEN_BEYOND_EMBEDDING. Codes of warnings: UNEXPECTED_TENSORS,
  // UNTIED_HEAD, TOKEN_BEYOND_EMBEDDING, MAX_LENGTH.
  std::vector<ModelFinding> findings;

  // OK, or the code of the first error with the messages of all.
  absl::Status status() const;
};

struct JobModelOptions {
  // Where the weights are: model.path, or the checkpoint to start from. "" = they are not checked.
  std::string weights_folder;
  // Where the adapter is that a job with lora starts from: lora.adapter_path, or the checkpoint to
  // start from. "" = the adapter is new, or not checked.
  std::string adapter_folder;
  // Whether the job continues with the optimizer state of the checkpoint to start from.
  bool with_optimizer_state = false;
  HeadCheck head_check = HeadCheck::kAll;
};

// Opens the model folder of `config` and checks it against the job: config.json, the headers of the
// weights and of the optimizer state, train.freeze, lora and its adapter, the tokenizer, the
// template that data.chat_template selects. Finds as much as it can; a check that needs a file with
// an error is skipped.
JobModel OpenJobModel(const v1::JobConfig& config, const JobModelOptions& options);

}  // namespace trainerd::engine
