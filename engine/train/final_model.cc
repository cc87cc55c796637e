// SPDX-License-Identifier: Apache-2.0
#include "engine/train/final_model.h"

#include <filesystem>
#include <memory>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "engine/checkpoint/checkpoint_name.h"
#include "engine/checkpoint/folder_writer.h"
#include "engine/checkpoint/optimizer_file.h"
#include "engine/checkpoint/run_folder.h"
#include "engine/train/checkpointing.h"
#include "engine/train/job_error.h"
#include "proto/contract/attempt_files.h"
#include "proto/contract/hash.h"
#include "proto/contract/status_macros.h"

namespace trainerd::engine {
namespace {

Manifest FinalManifest(const Run& run) {
  return {.job = run.spec.job(),
          .attempt = run.spec.attempt(),
          .step = run.state.step,
          .parent = run.last_checkpoint.has_value() ? run.last_checkpoint->name() : "",
          .kind = "final",
          .config_digest_hex = ToHex(run.spec.config().config_digest()),
          .create_time = TimestampText()};
}

// What lies at `folder` is the model that this run would write there.
bool IsDone(const Run& run, const std::string& folder) {
  const absl::StatusOr<Manifest> manifest = ReadManifest(folder);
  return manifest.ok() && manifest->kind == "final" && manifest->job == run.spec.job() &&
         manifest->step == run.state.step &&
         manifest->config_digest_hex == ToHex(run.spec.config().config_digest()) &&
         VerifyFolder(folder, *manifest).ok();
}

absl::Status Fence(const Run& run) {
  RETURN_IF_ERROR(CheckDiscard(run.control));
  return CheckPublisher(run.spec.run_dir(), run.spec.attempt());
}

absl::Status WriteFinal(const Run& run) {
  const std::string final_path = FinalFolder(run.spec.run_dir());
  if (IsDone(run, final_path)) return absl::OkStatus();
  RETURN_IF_ERROR(CheckSpace(run.spec.run_dir(), EstimateCheckpointBytes(*run.parameters)));
  ASSIGN_OR_RETURN(const std::unique_ptr<FolderWriter> writer,
                   FolderWriter::Create(absl::StrCat(run.spec.run_dir(), "/",
                                                     TemporaryName(run.spec.attempt(), "final"))));
  RETURN_IF_ERROR(
      WriteModelFolder(*run.parameters, run.config.model().path(), TemplateOverride(run), *writer));
  return writer->Publish(FinalManifest(run), final_path, [&] { return Fence(run); });
}

absl::Status CopyToOutput(const Run& run) {
  const std::string& path = run.config.output().path();
  if (path.empty() || IsDone(run, path)) return absl::OkStatus();
  const std::string final_path = FinalFolder(run.spec.run_dir());
  ASSIGN_OR_RETURN(const Manifest manifest, ReadManifest(final_path));
  const std::string job_id = absl::StrReplaceAll(run.spec.job(), {{"jobs/", ""}, {"/", "-"}});
  ASSIGN_OR_RETURN(const std::unique_ptr<FolderWriter> writer,
                   FolderWriter::Create(absl::StrCat(path, ".tmp-", job_id)));
  RETURN_IF_ERROR(CheckSpace(writer->path(), manifest.total_bytes()));
  RETURN_IF_ERROR(CopyFolder(final_path, manifest, *writer));
  return writer->Publish(manifest, path, [&] { return Fence(run); });
}

void EmitSummary(Run& run) {
  v1::Event event;
  v1::RunSummary& summary = *event.mutable_run_summary();
  summary.set_steps(run.state.step);
  summary.set_tokens(run.state.tokens);
  summary.set_target_tokens(run.state.target_tokens);
  if (run.first_step > 0) summary.set_last_loss(run.last_loss);
  if (const auto mean = run.monitor->mean_loss(); mean.has_value()) summary.set_mean_loss(*mean);
  summary.set_train_seconds(run.train_seconds);
  summary.set_final_path(FinalFolder(run.spec.run_dir()));
  summary.set_output_path(run.config.output().path());
  run.events.Emit(std::move(event));
}

absl::Status WithWriteCause(const absl::Status& status, const std::string& what) {
  if (status.ok() || absl::IsCancelled(status)) return status;
  return WithCause(Annotate(status, what), WriteCause(status, "FINAL_FAILED"));
}

}  // namespace

absl::Status SaveFinal(Run& run) {
  RETURN_IF_ERROR(WithWriteCause(WriteFinal(run), "the final model was not written"));
  RETURN_IF_ERROR(CheckOutputPath(run.config.output().path(), run.spec.job()));
  RETURN_IF_ERROR(WithWriteCause(
      CopyToOutput(run),
      absl::StrCat("the final model was not copied to output.path ", run.config.output().path())));
  EmitSummary(run);
  return absl::OkStatus();
}

absl::Status CheckOutputPath(const std::string& path, const std::string& job) {
  std::error_code error;
  if (path.empty() || !std::filesystem::exists(path, error)) return absl::OkStatus();
  const absl::StatusOr<Manifest> manifest = ReadManifest(path);
  if (manifest.ok() && manifest->job == job && manifest->kind == "final") return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("output.path ", path,
                   " exists already and is not this job's; choose another path, or move it away"));
}

}  // namespace trainerd::engine
