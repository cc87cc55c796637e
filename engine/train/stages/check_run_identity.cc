// SPDX-License-Identifier: Apache-2.0
#include <ATen/Parallel.h>
#include <torch/version.h>

#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/checkpoint/run_folder.h"
#include "engine/core/job_error.h"
#include "engine/ops/op_table.h"
#include "engine/platform/device.h"
#include "engine/train/stages/stages.h"
#include "proto/base/directory.h"
#include "proto/base/hash.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/config_choices.h"
#include "proto/contract/config/config_digest.h"
#include "proto/contract/job/plan/start_form.h"
#include "proto/contract/run_dir/found_checkpoint.h"
#include "proto/contract/run_dir/output_path.h"
#include "proto/contract/run_dir/read_error.h"

namespace trainerd::engine {
namespace {

std::string DifferencesText(const std::vector<ConfigDifference>& differences) {
  return absl::StrJoin(differences, ", ", [](std::string* out, const ConfigDifference& difference) {
    absl::StrAppend(out, difference.path, " (", difference.theirs, " → ", difference.ours, ")");
  });
}

// The length of a job may change between attempts; a notice reports it.
void NoteLength(AttemptContext& context, const v1::TrainConfig& theirs) {
  const v1::TrainConfig& ours = context.config.train();
  std::vector<std::string> changes;
  if (ours.max_steps() != theirs.max_steps())
    changes.push_back(
        absl::StrCat("train.max_steps ", theirs.max_steps(), " → ", ours.max_steps()));
  if (ours.epochs() != theirs.epochs())
    changes.push_back(absl::StrCat("train.epochs ", theirs.epochs(), " → ", ours.epochs()));
  if (changes.empty()) return;
  EmitNotice(context.events, v1::Notice::INFO, "RUN_LENGTH_CHANGED",
             absl::StrCat("the length of the job changed: ", absl::StrJoin(changes, ", "),
                          "; the learning-rate schedule follows it"));
}

absl::Status CompareConfig(AttemptContext& context) {
  const v1::JobConfig& theirs = context.start->state.config.config();
  NoteLength(context, theirs.train());
  const std::vector<ConfigDifference> differences =
      context.start_is_resume ? IdentityDifferences(context.config, theirs)
                              : InitDifferences(context);
  if (differences.empty()) return absl::OkStatus();
  if (!context.start_is_resume) {
    EmitNotice(context.events, v1::Notice::INFO, "INIT_FROM_DIFFERS",
               absl::StrCat("the checkpoint in init_from was trained with other values: ",
                            DifferencesText(differences)));
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(absl::StrCat(
      "the checkpoint ", context.start->folder, " was trained with other values: ",
      DifferencesText(differences), "; set them back, or start a new job from it with init_from"));
}

// A plain Hugging Face folder has no manifest. One of ours must match its manifest.
absl::Status VerifyWeights(const std::string& folder) {
  const absl::StatusOr<Manifest> manifest = ReadManifest(folder);
  if (absl::IsNotFound(manifest.status())) return absl::OkStatus();
  if (!manifest.ok()) return manifest.status();
  return VerifyFolder(folder, *manifest);
}

// Opens the checkpoint that init_from names. It belongs to another job, so there is no older one to
// fall back to: a confirmed corruption is a permanent error.
absl::Status OpenInit(AttemptContext& context, const std::string& folder) {
  const absl::Status opened = ConfirmCorruption(ManifestPaths(folder), [&]() -> absl::Status {
    if (!ContinuesFromCheckpoint(context.config.init_from().state())) return VerifyWeights(folder);
    ASSIGN_OR_RETURN(context.start, OpenCheckpoint(folder));
    return absl::OkStatus();
  });
  if (absl::IsUnavailable(opened)) {
    return WithCause(
        opened,
        {.code = "CHECKPOINT_UNREADABLE", .cause = v1::JobError::STORAGE, .retryable = true});
  }
  if (absl::IsDataLoss(opened)) {
    return WithCause(
        absl::DataLossError(
            absl::StrCat(opened.message(),
                         "; start from another checkpoint than init_from.checkpoint ", folder)),
        {.code = "CHECKPOINT_DAMAGED", .cause = v1::JobError::STORAGE, .retryable = false});
  }
  RETURN_IF_ERROR(opened);
  const std::string form_error = StartFormError(context.config, folder, HoldsAdapter(folder));
  if (!form_error.empty()) {
    return WithCause(
        absl::FailedPreconditionError(form_error),
        {.code = "CONFIGURATION_INVALID", .cause = v1::JobError::USER, .retryable = false});
  }
  return context.start.has_value() ? CompareConfig(context) : absl::OkStatus();
}

absl::Status OpenStart(AttemptContext& context) {
  context.weights_folder = context.config.model().path();
  context.adapter_folder = context.config.lora().adapter_path();
  const bool resumes = !context.spec.resume_path().empty();
  const std::string folder = resumes ? context.spec.resume_path() : context.spec.init_path();
  if (folder.empty()) return absl::OkStatus();
  // The model itself is that of model.path in every attempt of a job with lora.
  (context.config.has_lora() ? context.adapter_folder : context.weights_folder) = folder;
  if (!resumes) return OpenInit(context, folder);
  ASSIGN_OR_RETURN(context.start, OpenCheckpoint(folder));
  context.start_is_resume = true;
  ASSIGN_OR_RETURN(const FoundCheckpoint found, ReadCheckpointFolder(folder));
  v1::Checkpoint checkpoint = ToCheckpoint(found);
  checkpoint.set_name(context.spec.resume_name());
  checkpoint.set_verified(true);
  context.last_checkpoint = std::move(checkpoint);
  return CompareConfig(context);
}

// Before anything is trained. A later attempt reports what it meets when it writes there.
absl::Status CheckOutput(const AttemptContext& context) {
  const std::string& path = context.config.output().path();
  if (path.empty() || (!context.spec.resume_path().empty() && !PathExists(path)))
    return absl::OkStatus();
  return WithCause(Annotate(CheckOutputPath(path, context.spec.job()), "output.path"),
                   {.code = "OUTPUT_INVALID", .cause = v1::JobError::USER, .retryable = false});
}

void NoteEnvironment(AttemptContext& context) {
  if (!context.start.has_value()) return;
  const std::string differences =
      EnvironmentDifferences(context.start->state.environment, context.environment);
  if (differences.empty()) return;
  EmitNotice(context.events, v1::Notice::WARNING, "RESUME_ENVIRONMENT",
             absl::StrCat("the checkpoint was written in another environment (", differences,
                          "), so the numbers may differ in the last bits from those of an "
                          "uninterrupted job"));
}

}  // namespace

absl::Status CheckRunIdentity(AttemptContext& context) {
  const absl::Status fence = CheckFence(context.spec.run_dir(), context.spec.attempt());
  if (!fence.ok()) return WithCause(fence, WriteCause(fence, "RUN_DIRECTORY"));
  RETURN_IF_ERROR(RemoveTemporaries(context.spec.run_dir(), context.spec.attempt()));
  RETURN_IF_ERROR(CheckOutput(context));
  if (context.spec.devices_size() != 1) {
    return absl::InternalError(absl::StrCat("the attempt names ", context.spec.devices_size(),
                                            " devices, this trainerd-worker trains on one"));
  }
  const std::string& device_name = context.spec.devices(0);
  absl::StatusOr<c10::Device> device = OpenDevice(device_name);
  if (!device.ok()) {
    return WithCause(
        device.status(),
        {.code = "NO_SUCH_DEVICE", .cause = v1::JobError::HARDWARE, .retryable = false});
  }
  context.device = *device;
  RegisterDeviceOps(context.device);
  context.environment = CurrentEnvironment(device_name, at::get_num_threads(), TORCH_VERSION);
  context.environment.gpu = ReadGpuEnvironment(context.device);
  RETURN_IF_ERROR(OpenStart(context));
  NoteEnvironment(context);
  return absl::OkStatus();
}

std::vector<ConfigDifference> InitDifferences(const AttemptContext& context) {
  std::vector<ConfigDifference> differences =
      IdentityDifferences(context.config, context.start->state.config.config());
  std::erase_if(differences, [](const ConfigDifference& difference) {
    return absl::StartsWith(difference.path, "init_from");
  });
  return differences;
}

absl::Status CheckDataIdentity(AttemptContext& context) {
  if (!context.start.has_value()) return absl::OkStatus();
  const std::string& ours = context.data.report.fingerprint();
  const std::string& theirs = context.start->state.data_fingerprint;
  if (ours == theirs) return absl::OkStatus();
  const std::string what = absl::StrCat(
      "the training data has other tokens or labels than the checkpoint was trained on "
      "(fingerprint ",
      ToHex(theirs), " → ", ToHex(ours), ")");
  if (!context.start_is_resume) {
    EmitNotice(context.events, v1::Notice::INFO, "INIT_FROM_DATA_DIFFERS", what);
    return absl::OkStatus();
  }
  return WithCause(
      absl::FailedPreconditionError(absl::StrCat(what,
                                                 "; put the files of data.train, the tokenizer and "
                                                 "the template back, or start a new job from it "
                                                 "with init_from")),
      {.code = "DATA_CHANGED", .cause = v1::JobError::DATA, .retryable = false});
}

}  // namespace trainerd::engine
