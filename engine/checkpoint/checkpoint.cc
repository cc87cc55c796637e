// SPDX-License-Identifier: Apache-2.0
#include "engine/checkpoint/checkpoint.h"

#include <filesystem>
#include <map>
#include <memory>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "engine/checkpoint/checkpoint_name.h"
#include "engine/checkpoint/folder_writer.h"
#include "engine/checkpoint/optimizer_file.h"
#include "engine/checkpoint/run_folder.h"
#include "engine/model/model_writer.h"
#include "proto/base/atomic_file.h"
#include "proto/base/directory.h"
#include "proto/base/format.h"
#include "proto/base/hash.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/yaml_to_proto.h"
#include "proto/contract/run_dir/attempt_files.h"
#include "proto/contract/run_dir/found_checkpoint.h"

namespace trainerd::engine {
namespace {

// Job configuration, manifest and the file system's blocks; the entries of a tensor in the headers.
constexpr int64_t kTextBytes = 64 << 10;
constexpr int64_t kTensorEntryBytes = 512;
constexpr char kJobConfigName[] = "job_config.yaml";

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
  RETURN_IF_ERROR(WriteModelFolder(parameters, target.model_folder, writer));
  ASSIGN_OR_RETURN(const ManifestFile optimizer_file,
                   WriteOptimizerFile(writer.path(), parameters, optimizer));
  writer.Add({{kOptimizerName, optimizer_file}});
  const std::vector<std::string> given(state.config.given().begin(), state.config.given().end());
  RETURN_IF_ERROR(writer.WriteText(kJobConfigName, MessageToYaml(state.config.config(), &given)));
  return writer.WriteText(kStateName, RunStateToJson(state));
}

}  // namespace

absl::Status WriteModelFolder(const ParameterSet& parameters, const std::string& source,
                              FolderWriter& writer) {
  ASSIGN_OR_RETURN(const auto weights, WriteModelWeights(writer.path(), parameters));
  writer.Add(weights);
  ASSIGN_OR_RETURN(const auto model_files, CopyModelFiles(source, writer.path()));
  writer.Add(model_files);
  return absl::OkStatus();
}

int64_t EstimateFolderBytes(const ParameterSet& parameters, const std::string& source) {
  int64_t bytes = EstimateModelBytes(parameters) + kTextBytes +
                  kTensorEntryBytes * static_cast<int64_t>(parameters.parameters().size());
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(source, error)) {
    if (entry.path().extension() == ".safetensors" || !entry.is_regular_file(error)) continue;
    const std::uintmax_t size = entry.file_size(error);
    if (!error) bytes += static_cast<int64_t>(size);
  }
  return bytes;
}

absl::Status CheckSpace(const std::string& run_dir, int64_t needed) {
  ASSIGN_OR_RETURN(const int64_t free, FreeBytes(run_dir));
  if (free >= needed) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat("it needs ", FormatBytes(needed), " in ",
                                                   run_dir, ", ", FormatBytes(free),
                                                   " are free; free some space"));
}

absl::StatusOr<v1::Checkpoint> WriteCheckpoint(const CheckpointTarget& target,
                                               const RunState& state,
                                               const ParameterSet& parameters,
                                               Optimizer& optimizer) {
  const std::string id = CheckpointName({.step = state.step, .attempt = target.attempt});
  const std::string folder = CheckpointsFolder(target.run_dir);
  const std::string final_path = absl::StrCat(folder, "/", id);
  const int64_t needed = EstimateFolderBytes(parameters, target.model_folder) +
                         EstimateOptimizerBytes(parameters, optimizer) +
                         static_cast<int64_t>(RunStateToJson(state).size());
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
                          .tokens = state.tokens};
  absl::Status status = WriteFiles(target, state, parameters, optimizer, *writer);
  if (status.ok()) {
    status = writer->Publish(manifest, final_path,
                             [&] { return CheckPublisher(target.run_dir, target.attempt); });
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
