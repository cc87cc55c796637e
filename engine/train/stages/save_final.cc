// SPDX-License-Identifier: Apache-2.0
#include <sys/stat.h>

#include <memory>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "engine/checkpoint/checkpoint.h"
#include "engine/checkpoint/checkpoint_name.h"
#include "engine/checkpoint/folder_writer.h"
#include "engine/checkpoint/run_folder.h"
#include "engine/core/job_error.h"
#include "engine/train/kept_model.h"
#include "engine/train/stages/stages.h"
#include "proto/base/atomic_file.h"
#include "proto/base/free_space.h"
#include "proto/base/hash.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/config_choices.h"
#include "proto/contract/run_dir/output_path.h"

namespace trainerd::engine {
namespace {

Manifest FinalManifest(const AttemptContext& context) {
  return {.job = context.spec.job(),
          .attempt = context.spec.attempt(),
          .step = context.state.step,
          .parent = context.last_checkpoint.has_value() ? context.last_checkpoint->name() : "",
          .kind = "final",
          .config_digest_hex = ToHex(context.spec.config().config_digest()),
          .create_time = TimestampText(),
          .adapter = WritesAdapter(context.config.output().form()),
          .tokens = context.state.tokens};
}

// Whether `folder` already holds the model that this job would write there.
bool IsDone(const AttemptContext& context, const std::string& folder) {
  const absl::StatusOr<Manifest> manifest = ReadManifest(folder);
  return manifest.ok() && manifest->kind == "final" && manifest->job == context.spec.job() &&
         manifest->step == context.state.step &&
         manifest->config_digest_hex == ToHex(context.spec.config().config_digest()) &&
         VerifyFolder(folder, *manifest).ok();
}

absl::Status Fence(const AttemptContext& context) {
  RETURN_IF_ERROR(CheckDiscard(context.control));
  return CheckFence(context.spec.run_dir(), context.spec.attempt());
}

absl::Status WriteFinal(const AttemptContext& context) {
  const std::string final_path = FinalFolder(context.spec.run_dir());
  if (IsDone(context, final_path)) return absl::OkStatus();
  const std::string kept = KeptModelFolder(context.spec.run_dir());
  RETURN_IF_ERROR(
      CheckSpace(context.spec.run_dir(),
                 SizeOfCheckpoint(*context.parameters, context.config, kept).final_bytes));
  ASSIGN_OR_RETURN(
      const std::unique_ptr<FolderWriter> writer,
      FolderWriter::Create(absl::StrCat(context.spec.run_dir(), "/",
                                        TemporaryName(context.spec.attempt(), "final"))));
  RETURN_IF_ERROR(
      WritesAdapter(context.config.output().form())
          ? WriteAdapterFolder(*context.parameters, kept, context.config.model().path(), *writer)
          : WriteModelFolder(*context.parameters, kept, *writer));
  return writer->Publish(FinalManifest(context), final_path, [&] { return Fence(context); });
}

// Sets the umask of the process while it exists.
class ScopedUmask {
 public:
  explicit ScopedUmask(mode_t mask) : before_(::umask(mask)) {}
  ~ScopedUmask() { ::umask(before_); }
  ScopedUmask(const ScopedUmask&) = delete;
  ScopedUmask& operator=(const ScopedUmask&) = delete;

 private:
  const mode_t before_;
};

absl::Status CopyToOutput(const AttemptContext& context) {
  const std::string& path = context.config.output().path();
  if (path.empty() || IsDone(context, path)) return absl::OkStatus();
  RETURN_IF_ERROR(CheckOutputPath(path, context.spec.job()));
  // The run directory is private; this folder is for others too. No other thread creates files.
  std::optional<ScopedUmask> user_umask;
  if (context.spec.has_output_umask()) user_umask.emplace(context.spec.output_umask());
  const std::string final_path = FinalFolder(context.spec.run_dir());
  ASSIGN_OR_RETURN(const Manifest manifest, ReadManifest(final_path));
  const std::string job_id = absl::StrReplaceAll(context.spec.job(), {{"jobs/", ""}, {"/", "-"}});
  ASSIGN_OR_RETURN(const std::unique_ptr<FolderWriter> writer,
                   // A name of its own: that of the output may be as long as a name can be.
                   FolderWriter::Create(absl::StrCat(ParentOf(path), "/.tmp-", job_id)));
  RETURN_IF_ERROR(CheckSpace(writer->path(), manifest.total_bytes()));
  RETURN_IF_ERROR(CopyFolder(final_path, manifest, *writer));
  return writer->Publish(manifest, path, [&] { return Fence(context); });
}

void EmitSummary(AttemptContext& context) {
  v1::Event event;
  v1::RunSummary& summary = *event.mutable_run_summary();
  summary.set_steps(context.state.step);
  summary.set_tokens(context.state.tokens);
  summary.set_target_tokens(context.state.target_tokens);
  if (context.first_step > 0) summary.set_last_loss(context.last_loss);
  if (const auto mean = context.monitor->mean_loss(); mean.has_value())
    summary.set_mean_loss(*mean);
  summary.set_train_seconds(context.train_seconds);
  summary.set_final_path(FinalFolder(context.spec.run_dir()));
  summary.set_output_path(context.config.output().path());
  context.events.Emit(std::move(event));
}

absl::Status WithWriteCause(const absl::Status& status, const std::string& what) {
  if (status.ok() || absl::IsCancelled(status)) return status;
  return WithCause(Annotate(status, what), WriteCause(status, "FINAL_FAILED"));
}

// Whether the place is wrong, and not the moment: no later attempt could write there.
bool IsPermanent(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kPermissionDenied:
      return true;
    default:
      return false;
  }
}

// Copies final/ to output.path. Whatever comes of it, final/ stays.
absl::Status Publish(const AttemptContext& context) {
  const absl::Status status = CopyToOutput(context);
  if (status.ok() || absl::IsCancelled(status)) return status;
  const absl::Status full(status.code(),
                          absl::StrCat("the final model was not copied to output.path ",
                                       context.config.output().path(), ": ", status.message(),
                                       "; it is kept in ", FinalFolder(context.spec.run_dir())));
  const ErrorCause cause = WriteCause(status, "FINAL_FAILED");
  if (cause.code != "FINAL_FAILED" || !IsPermanent(status)) return WithCause(full, cause);
  return WithCause(full, {"OUTPUT_INVALID", v1::JobError::USER, /*retryable=*/false});
}

}  // namespace

absl::Status SaveFinal(AttemptContext& context) {
  RETURN_IF_ERROR(WithWriteCause(WriteFinal(context), "the final model was not written"));
  RETURN_IF_ERROR(Publish(context));
  EmitSummary(context);
  return absl::OkStatus();
}

}  // namespace trainerd::engine
