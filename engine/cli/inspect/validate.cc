// SPDX-License-Identifier: Apache-2.0
// trainerd-inspect validate: what the model folder shows (job_model.h) and what the data shows, in
// one report.
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/cli/inspect/commands.h"
#include "engine/data/masking_check.h"
#include "engine/data/prepare.h"
#include "engine/data/quick_report.h"
#include "engine/data/source/sample_prompts.h"
#include "engine/data/token_range.h"
#include "engine/data/warm_up.h"
#include "engine/model/folder/checkpoint_size.h"
#include "engine/model/folder/hf_folder.h"
#include "engine/model/folder/job_model.h"
#include "engine/text/tokenizer/beyond_embedding.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/config_choices.h"
#include "proto/contract/job/plan/checkpoint_count.h"
#include "proto/contract/job/plan/disk_use.h"
#include "proto/contract/job/plan/start_form.h"
#include "proto/contract/job_file/job_file.h"
#include "proto/contract/job_file/output_json.h"
#include "proto/contract/run_dir/found_checkpoint.h"

namespace trainerd::engine {
namespace {

void AddFinding(const std::string& code, bool error, const std::string& message,
                const std::string& place, v1::DataReport* report) {
  v1::DataReport::Finding* finding = report->add_findings();
  finding->set_code(code);
  finding->set_error(error);
  finding->set_count(1);
  finding->set_message(message);
  if (!place.empty()) finding->add_first_places(place);
}

void AddError(const std::string& code, const absl::Status& status, v1::DataReport* report) {
  if (!status.ok()) AddFinding(code, /*error=*/true, std::string(status.message()), "", report);
}

bool HasErrors(const v1::DataReport& report) {
  for (const v1::DataReport::Finding& finding : report.findings()) {
    if (finding.error()) return true;
  }
  return false;
}

// Where the job's weights and adapter are, and whether its optimizer state is there too. A
// checkpoint of the daemon is not checked by its name: the daemon passes its folder.
JobModelOptions ModelOptions(const v1::JobConfig& config) {
  const std::string& base = config.init_from().checkpoint();
  JobModelOptions options{.weights_folder = config.model().path(),
                          .adapter_folder = config.lora().adapter_path()};
  if (base.empty()) return options;
  const bool is_folder = base.front() == '/';
  (config.has_lora() ? options.adapter_folder : options.weights_folder) = is_folder ? base : "";
  options.with_optimizer_state = is_folder && ContinuesFromCheckpoint(config.init_from().state());
  return options;
}

// Whether the job can start from what is in the folder of init_from.
void CheckStartForm(const v1::JobConfig& config, v1::DataReport* report) {
  const std::string& base = config.init_from().checkpoint();
  if (base.empty() || base.front() != '/') return;
  const std::string error = StartFormError(config, base, HoldsAdapter(base));
  if (!error.empty()) AddFinding("INIT_FROM", /*error=*/true, error, base, report);
}

// Finds the spellings of tokens that have no row in the embedding. Nothing is tokenized here, so
// only added tokens, which are found as they are spelled, can be found.
QuickRowCheck TokenCheck(const JobModel& model, const v1::JobConfig& config) {
  if (model.text.tokenizer == nullptr || model.config.vocab_size == 0) return {};
  const bool as_text = config.data().control_tokens() == v1::DataConfig::CONTROL_TOKENS_AS_TEXT;
  std::vector<AddedToken> tokens;
  for (const AddedToken& token : model.text.tokenizer->added_tokens()) {
    if (token.id >= model.config.vocab_size && !token.content.empty() &&
        !(as_text && token.special))
      tokens.push_back(token);
  }
  if (tokens.empty()) return {};
  return [&model, tokens = std::move(tokens)](
             const Conversation& conversation) -> std::optional<RecordError> {
    const std::string text =
        conversation.text.has_value()
            ? *conversation.text
            : conversation.messages.dump(-1, ' ', /*ensure_ascii=*/false,
                                         nlohmann::json::error_handler_t::replace);
    for (const AddedToken& token : tokens) {
      if (text.find(token.content) == std::string::npos) continue;
      return RecordError{
          .code = "TOKEN_BEYOND_EMBEDDING",
          .message = absl::StrCat(
              "the record contains ",
              BeyondEmbeddingText(*model.text.tokenizer, token.id, model.config.vocab_size))};
    }
    return std::nullopt;
  };
}

absl::StatusOr<v1::DataReport> FullReport(const v1::JobConfig& config, const JobModel& model,
                                          const ValidateOptions& options) {
  ASSIGN_OR_RETURN(PreparedData data, PrepareData(config, model.text, nullptr,
                                                  {.keep_going = true,
                                                   .cache_folder = options.cache_folder,
                                                   .scratch_folder = options.scratch_folder}));
  for (const std::string& note : data.notes) std::fprintf(stderr, "%s\n", note.c_str());
  v1::DataReport* report = &data.report;
  if (model.config.vocab_size > 0) {
    AddError("TOKEN_BEYOND_EMBEDDING",
             CheckTokenRange(data, *model.text.tokenizer, model.config.vocab_size), report);
  }
  if (!data.train_sequences.empty()) {
    // How many steps there are is not known as long as the data has errors.
    if (!data.train_has_errors) {
      AddError("WARM_UP", CheckWarmUp(config, report->total_steps()), report);
    }
    ASSIGN_OR_RETURN(const v1::MaskingReport checked, CheckMasking(data, config, model.text));
    AddError("MASKING", MaskingStatus(checked), report);
  }
  return std::move(data.report);
}

v1::DataReport QuickDataReport(const v1::JobConfig& config, const JobModel& model) {
  v1::DataReport report = QuickReport(config, TokenCheck(model, config));
  if (report.examples() > 0 && !HasErrors(report)) {
    AddError("WARM_UP", CheckWarmUpQuickly(config, report), &report);
  }
  return report;
}

// Whether the user can cure the error, as opposed to a full disk.
bool IsAboutInput(const absl::Status& status) {
  return absl::IsInvalidArgument(status) || absl::IsNotFound(status) ||
         absl::IsFailedPrecondition(status) || absl::IsUnimplemented(status) ||
         absl::IsPermissionDenied(status) || absl::IsDataLoss(status);
}

// If the data cannot be used at all, the quick report with the reason.
absl::StatusOr<v1::DataReport> DataReportOf(const v1::JobConfig& config, const JobModel& model,
                                            const ValidateOptions& options) {
  // Without tokenizer and template only the quick report is possible; the model's findings say why.
  if (options.quick || model.text.chat_template == nullptr) return QuickDataReport(config, model);
  absl::StatusOr<v1::DataReport> full = FullReport(config, model, options);
  if (full.ok() || !IsAboutInput(full.status())) return full;
  v1::DataReport report = QuickDataReport(config, model);
  if (!HasErrors(report)) AddError("BAD_FILE", full.status(), &report);
  return report;
}

void CheckPrompts(const v1::SamplesConfig& samples, const std::string& system_prompt,
                  v1::DataReport* report) {
  if (samples.prompts().empty()) return;
  const absl::Status status = ReadSamplePrompts(samples.prompts(), system_prompt).status();
  if (status.ok()) return;
  AddFinding("SAMPLE_PROMPTS", /*error=*/true, std::string(status.message()), samples.prompts(),
             report);
}

// The parameters of the job in the dtypes in which they are stored; empty if they are unknown.
std::vector<StoredParameter> ParametersOf(const v1::JobConfig& config, const JobModel& model) {
  if (model.weights != nullptr) return StoredParameters(model.config, *model.weights, model.frozen);
  // A checkpoint that the daemon verifies has the dtypes of the model that its job started from.
  const absl::StatusOr<std::unique_ptr<HfFolder>> weights =
      HfFolder::Open(config.model().path(), model.config.names);
  if (!weights.ok()) return {};
  ModelConfig untied = model.config;
  (*weights)->MatchHead(HeadCheck::kSample, untied);
  return StoredParameters(untied, **weights, model.frozen);
}

// What the job writes, and a warning for each file system on which it does not fit.
void AddDiskUse(const v1::JobConfig& config, const JobModel& model, const std::string& runs_dir,
                v1::DataReport* report) {
  if (runs_dir.empty() || model.config.vocab_size == 0) return;
  const std::vector<StoredParameter> parameters = ParametersOf(config, model);
  // Of an adapter with an error, the layers are unknown.
  if (parameters.empty() || config.has_lora() != model.adapter.has_value()) return;
  const CheckpointSize size =
      ComputeCheckpointSize(parameters, model.adapter.has_value() ? &*model.adapter : nullptr,
                            config, config.model().path());
  std::optional<int64_t> steps;
  if (report->has_total_steps()) steps = report->total_steps();
  if (report->quick() && !config.train().has_max_steps()) steps = QuickStepsAtMost(config, *report);
  v1::DataReport::DiskUse& disk = *report->mutable_disk();
  disk.set_folder(runs_dir);
  disk.set_checkpoint_bytes(size.checkpoint_bytes);
  disk.set_checkpoint_count(CheckpointsAtOnce(config, steps));
  disk.set_final_bytes(size.final_bytes);
  const std::string& output = config.output().path();
  MeasureFreeSpace(output, &disk);
  for (const std::string& warning : DiskSpaceWarnings(disk, output))
    AddFinding(kDiskSpace, /*error=*/false, warning, "", report);
}

// The findings about the model, then those about the prompts, the data and the disk.
absl::StatusOr<v1::DataReport> Report(const v1::JobConfig& config, const ValidateOptions& options) {
  JobModelOptions model_options = ModelOptions(config);
  model_options.head_check = HeadCheck::kSample;
  const JobModel model = OpenJobModel(config, model_options);
  ASSIGN_OR_RETURN(v1::DataReport report, DataReportOf(config, model, options));
  const v1::DataReport data = report;
  report.clear_findings();
  for (const ModelFinding& finding : model.findings)
    AddFinding(finding.code, !finding.status.ok(), finding.message, finding.place, &report);
  CheckStartForm(config, &report);
  CheckPrompts(config.samples(), config.data().system_prompt(), &report);
  report.mutable_findings()->MergeFrom(data.findings());
  AddDiskUse(config, model, options.runs_dir, &report);
  return report;
}

}  // namespace

absl::StatusOr<bool> RunValidate(const ValidateOptions& options, std::FILE* out) {
  ASSIGN_OR_RETURN(const v1::ResolvedJobConfig job,
                   ReadResolvedJob({.path = options.job_file, .home_dir = options.home_dir}));
  ASSIGN_OR_RETURN(const v1::DataReport report, Report(job.config(), options));
  std::fprintf(out, "%s\n", JsonText(OutputJson(report), /*pretty=*/true).c_str());
  return !HasErrors(report);
}

}  // namespace trainerd::engine
