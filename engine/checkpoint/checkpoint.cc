// SPDX-License-Identifier: Apache-2.0
#include "engine/checkpoint/checkpoint.h"

#include <map>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "engine/checkpoint/checkpoint_name.h"
#include "engine/checkpoint/folder_writer.h"
#include "engine/checkpoint/optimizer_file.h"
#include "engine/checkpoint/run_folder.h"
#include "engine/core/job_error.h"
#include "engine/model/adapter/peft_config.h"
#include "engine/model/config/model_config.h"
#include "engine/model/folder/adapter.h"
#include "engine/model/model_writer.h"
#include "engine/model/stored_dtype.h"
#include "proto/base/atomic_file.h"
#include "proto/base/directory.h"
#include "proto/base/format.h"
#include "proto/base/free_space.h"
#include "proto/base/hash.h"
#include "proto/base/status_macros.h"
#include "proto/contract/job/plan/disk_use.h"
#include "proto/contract/job_file/yaml_to_proto.h"
#include "proto/contract/run_dir/found_checkpoint.h"

namespace trainerd::engine {
namespace {

// Adds the bytes needed and free to the error for a full disk.
absl::Status WithNumbers(const absl::Status& status, const std::string& run_dir, int64_t needed) {
  if (!absl::IsResourceExhausted(status)) return status;
  const absl::StatusOr<int64_t> free = FreeBytes(run_dir);
  return absl::ResourceExhaustedError(absl::StrCat(
      status.message(), "; it needs ", FormatBytes(needed), " in ", run_dir, ", ",
      free.ok() ? FormatBytes(*free) : "an unknown number of bytes", " are free; free some space"));
}

absl::Status WriteFiles(const CheckpointTarget& target, const RunState& state,
                        const ParameterSet& parameters, Optimizer& optimizer,
                        FolderWriter& writer) {
  const std::string& base_model = state.config.config().model().path();
  RETURN_IF_ERROR(parameters.adapter() == nullptr
                      ? WriteModelFolder(parameters, target.model_folder, writer)
                      : WriteAdapterFolder(parameters, target.model_folder, base_model, writer));
  ASSIGN_OR_RETURN(const ManifestFile optimizer_file,
                   WriteOptimizerFile(writer.path(), parameters, optimizer));
  writer.Add({{kOptimizerName, optimizer_file}});
  const std::vector<std::string> given(state.config.given().begin(), state.config.given().end());
  RETURN_IF_ERROR(writer.WriteText(kJobConfigName, MessageToYaml(state.config.config(), &given)));
  return writer.WriteText(kStateName, RunStateToJson(state));
}

}  // namespace

CheckpointSize SizeOfCheckpoint(const ParameterSet& parameters, const v1::JobConfig& config,
                                const std::string& model_folder) {
  std::vector<StoredParameter> stored;
  for (const Parameter& parameter : parameters.parameters()) {
    if (parameter.is_of_adapter()) continue;
    stored.push_back({.name = parameter.name,
                      .name_in_files = parameter.name_in_files,
                      .shape = parameter.value.sizes().vec(),
                      .dtype = StoredDtypeOf(parameter.source_dtype),
                      .trains = parameter.trains(),
                      .group = parameter.group()});
  }
  for (const TensorInfo& tensor : parameters.kept().tensors()) AddKept(tensor, stored);
  return ComputeCheckpointSize(stored, parameters.adapter(), config, model_folder);
}

absl::Status WriteModelFolder(const ParameterSet& parameters, const std::string& source,
                              FolderWriter& writer, WriteWeightsOptions::Dtype dtype) {
  ASSIGN_OR_RETURN(const auto weights,
                   WriteModelWeights(writer.path(), parameters, {.dtype = dtype}));
  writer.Add(weights);
  ASSIGN_OR_RETURN(const auto model_files, CopyModelFiles(source, writer.path()));
  writer.Add(model_files);
  const bool is_tied = parameters.Find(kHeadName) == nullptr;
  if (parameters.adapter() == nullptr || !MergeUnties(*parameters.adapter(), is_tied))
    return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::string config, ReadFile(source + "/config.json"));
  ASSIGN_OR_RETURN(const std::string untied, UntiedModelConfig(config));
  return writer.WriteText("config.json", untied);
}

absl::Status WriteAdapterFolder(const ParameterSet& parameters, const std::string& source,
                                const std::string& base_model, FolderWriter& writer) {
  ASSIGN_OR_RETURN(const auto weights, WriteAdapterWeights(writer.path(), parameters));
  writer.Add(weights);
  ASSIGN_OR_RETURN(const auto files, CopyAdapterFiles(source, writer.path()));
  writer.Add(files);
  return writer.WriteText(kAdapterConfigName, PeftConfigJson(*parameters.adapter(), base_model));
}

absl::StatusOr<v1::Checkpoint> WriteCheckpoint(const CheckpointTarget& target,
                                               const RunState& state,
                                               const ParameterSet& parameters,
                                               Optimizer& optimizer) {
  const std::string id = CheckpointName({.step = state.step, .attempt = target.attempt});
  const std::string folder = CheckpointsFolder(target.run_dir);
  const std::string final_path = absl::StrCat(folder, "/", id);
  const CheckpointSize size =
      SizeOfCheckpoint(parameters, state.config.config(), target.model_folder);
  const int64_t needed = size.checkpoint_bytes + kCheckpointMarginBytes;
  RETURN_IF_ERROR(CheckSpace(target.run_dir, needed));
  // An attempt that created checkpoints/ may have died before its name was durable.
  RETURN_IF_ERROR(MakeDirectories(folder));
  RETURN_IF_ERROR(FsyncPath(target.run_dir));
  ASSIGN_OR_RETURN(std::unique_ptr<FolderWriter> writer,
                   FolderWriter::Create(absl::StrCat(
                       folder, "/", TemporaryName(target.attempt, absl::StrCat(state.step)))));
  const Manifest manifest{.job = target.job,
                          .attempt = target.attempt,
                          .step = state.step,
                          .parent = target.parent,
                          .kind = "checkpoint",
                          .config_digest_hex = ToHex(state.config.config_digest()),
                          .create_time = TimestampText(),
                          .has_optimizer = true,
                          .adapter = parameters.adapter() != nullptr,
                          .tokens = state.tokens};
  absl::Status status = WriteFiles(target, state, parameters, optimizer, *writer);
  if (status.ok()) {
    status = writer->Publish(manifest, final_path,
                             [&] { return CheckFence(target.run_dir, target.attempt); });
  }
  writer.reset();  // removes what a failed write left, so that the free bytes count it
  if (!status.ok()) return WithNumbers(status, target.run_dir, needed);
  ASSIGN_OR_RETURN(const FoundCheckpoint published, ReadCheckpointFolder(final_path));
  v1::Checkpoint checkpoint = ToCheckpoint(published);
  checkpoint.set_verified(true);
  return checkpoint;
}

absl::StatusOr<OpenedCheckpoint> OpenCheckpoint(const std::string& folder) {
  OpenedCheckpoint opened{.folder = folder};
  ASSIGN_OR_RETURN(opened.manifest, ReadManifest(folder));
  RETURN_IF_ERROR(VerifyFolder(folder, opened.manifest));
  if (opened.manifest.files.count(kStateName) == 0 || !opened.manifest.has_optimizer) {
    return absl::FailedPreconditionError(absl::StrCat(
        folder, " has weights but no run state: start from it with init_from: {checkpoint: ",
        folder, ", state: weights}"));
  }
  ASSIGN_OR_RETURN(const std::string json, ReadFile(absl::StrCat(folder, "/", kStateName)));
  absl::StatusOr<RunState> state = ParseRunState(json);
  if (!state.ok()) return Annotate(state.status(), folder);
  opened.state = *std::move(state);
  if (opened.state.step != opened.manifest.step) {
    return absl::DataLossError(absl::StrCat(folder, ": ", kStateName, " is of step ",
                                            opened.state.step, ", ", kManifestName, " of step ",
                                            opened.manifest.step));
  }
  return opened;
}

std::string TimestampText() {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E6SZ", absl::Now(), absl::UTCTimeZone());
}

}  // namespace trainerd::engine
