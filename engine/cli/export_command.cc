// SPDX-License-Identifier: Apache-2.0
#include "engine/cli/export_command.h"

#include <cstdio>
#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/checkpoint/checkpoint.h"
#include "engine/checkpoint/folder_writer.h"
#include "engine/checkpoint/run_state.h"
#include "engine/cli/whole_model.h"
#include "engine/model/folder/model_files.h"
#include "engine/model/folder/optimizer_state.h"
#include "engine/model/gguf/export_model.h"
#include "engine/model/model_writer.h"
#include "proto/base/directory.h"
#include "proto/base/free_space.h"
#include "proto/base/new_path.h"
#include "proto/base/status_macros.h"
#include "proto/contract/run_dir/found_checkpoint.h"

namespace trainerd::engine {
namespace {

namespace fs = std::filesystem;

absl::Status CheckAbsent(const std::string& path) {
  if (!NameExists(path)) return absl::OkStatus();
  return absl::AlreadyExistsError(
      absl::StrCat(path, " already exists; choose another --output or remove it"));
}

// The manifest of the model in `folder`, without the state of the training; an empty one for a
// folder without manifest. Verifies the files that it names.
absl::StatusOr<Manifest> ReadSource(const std::string& folder) {
  absl::StatusOr<Manifest> manifest = ReadManifest(folder);
  if (absl::IsNotFound(manifest.status())) return Manifest{.kind = "final"};
  RETURN_IF_ERROR(manifest.status());
  manifest->kind = "final";
  manifest->has_optimizer = false;
  for (const char* name : {kOptimizerName, kStateName, kJobConfigName}) manifest->files.erase(name);
  RETURN_IF_ERROR(VerifyFolder(folder, *manifest));
  return manifest;
}

absl::Status Publish(const Manifest& manifest, const std::string& output, FolderWriter& writer) {
  return writer.Publish(manifest, output, [&] { return CheckAbsent(output); });
}

absl::Status CopyAsItIs(const ExportOptions& options, const std::string& output) {
  ASSIGN_OR_RETURN(const Manifest manifest, ReadSource(options.model_folder));
  if (manifest.files.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(options.model_folder, " has no ", kManifestName, "; --form ", options.form,
                     " copies the final/ folder or a checkpoint of a job"));
  }
  ASSIGN_OR_RETURN(const NewPath path, NewPath::Create(output));
  ASSIGN_OR_RETURN(const std::unique_ptr<FolderWriter> writer,
                   FolderWriter::Create(path.temporary()));
  RETURN_IF_ERROR(CheckSpace(writer->path(), manifest.total_bytes()));
  RETURN_IF_ERROR(CopyFolder(options.model_folder, manifest, *writer));
  return Publish(manifest, output, *writer);
}

// The files of an adapter's folder in place of those of its model: the tokenizer may have changed.
absl::Status TakeAdapterFiles(const std::string& adapter, FolderWriter& writer) {
  for (const std::string& name : AdapterFiles(adapter))
    RETURN_IF_ERROR(RemoveAll(absl::StrCat(writer.path(), "/", name)));
  ASSIGN_OR_RETURN(const auto files, CopyAdapterFiles(adapter, writer.path()));
  writer.Add(files);
  return absl::OkStatus();
}

// Writes the model with the adapter of the folder merged, in `dtype`.
absl::Status WriteMerged(const ExportOptions& options, WriteWeightsOptions::Dtype dtype,
                         FolderWriter& writer) {
  ASSIGN_OR_RETURN(WholeModel model, OpenWholeModel(options.model_folder));
  ASSIGN_OR_RETURN(const std::unique_ptr<ParameterSet> parameters, LoadParameters(model));
  RETURN_IF_ERROR(CheckSpace(writer.path(), ModelWeightBytes(*parameters, dtype)));
  RETURN_IF_ERROR(WriteModelFolder(*parameters, model.folder, writer, dtype));
  return TakeAdapterFiles(options.model_folder, writer);
}

absl::Status ExportMerged(const ExportOptions& options, const std::string& output) {
  ASSIGN_OR_RETURN(Manifest manifest, ReadSource(options.model_folder));
  ASSIGN_OR_RETURN(const NewPath path, NewPath::Create(output));
  ASSIGN_OR_RETURN(const std::unique_ptr<FolderWriter> writer,
                   FolderWriter::Create(path.temporary()));
  RETURN_IF_ERROR(WriteMerged(options, WriteWeightsOptions::Dtype::kSource, *writer));
  manifest.adapter = false;
  return Publish(manifest, output, *writer);
}

absl::Status ExportGguf(const ExportOptions& options, const std::string& output) {
  ASSIGN_OR_RETURN(const GgufType type, GgufTypeOf(options.type.empty() ? "bf16" : options.type));
  RETURN_IF_ERROR(ReadSource(options.model_folder).status());
  const GgufExport gguf{.type = type, .name = fs::path(output).stem().string()};
  ASSIGN_OR_RETURN(NewPath file, NewPath::Create(output));
  if (HoldsAdapter(options.model_folder)) {
    // In fp32, so that the merged weights are rounded once. The folder is never published.
    ASSIGN_OR_RETURN(const std::unique_ptr<FolderWriter> merged,
                     FolderWriter::Create(file.temporary() + "-merged"));
    RETURN_IF_ERROR(WriteMerged(options, WriteWeightsOptions::Dtype::kFloat32, *merged));
    RETURN_IF_ERROR(WriteGguf(merged->path(), file.temporary(), gguf));
  } else {
    RETURN_IF_ERROR(WriteGguf(options.model_folder, file.temporary(), gguf));
  }
  return file.Publish();
}

absl::Status CheckForm(const ExportOptions& options) {
  const std::string& form = options.form;
  if (form != "hf" && form != "merged" && form != "adapter" && form != "gguf") {
    return absl::InvalidArgumentError(
        absl::StrCat("--form ", form, " is not known; use hf, merged, adapter or gguf"));
  }
  if (!options.type.empty() && form != "gguf")
    return absl::InvalidArgumentError("--type is for --form gguf only");
  if (!IsFolder(options.model_folder)) {
    return absl::NotFoundError(absl::StrCat(options.model_folder,
                                            " is no folder; --model is the "
                                            "final/ folder or a checkpoint of a job"));
  }
  const bool is_adapter = HoldsAdapter(options.model_folder);
  if (is_adapter && form == "hf") {
    return absl::InvalidArgumentError(absl::StrCat(
        options.model_folder, " holds an adapter; use --form merged, adapter or gguf"));
  }
  if (!is_adapter && (form == "merged" || form == "adapter")) {
    return absl::InvalidArgumentError(
        absl::StrCat(options.model_folder, " holds a whole model; use --form hf or gguf"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ExportModel(const ExportOptions& options) {
  RETURN_IF_ERROR(CheckForm(options));
  if (options.output.empty()) return absl::InvalidArgumentError("--output is empty");
  std::error_code error;
  fs::path output = fs::absolute(options.output, error).lexically_normal();
  if (!output.has_filename()) output = output.parent_path();
  RETURN_IF_ERROR(CheckAbsent(output.string()));
  if (options.form == "gguf") return ExportGguf(options, output.string());
  if (options.form == "merged") return ExportMerged(options, output.string());
  return CopyAsItIs(options, output.string());
}

int RunExportCommand(const ExportOptions& options) {
  const absl::Status status = ExportModel(options);
  if (status.ok()) return 0;
  std::fprintf(stderr, "trainerd-worker: %s\n", std::string(status.message()).c_str());
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kUnimplemented:
    case absl::StatusCode::kPermissionDenied:
      return 2;
    default:
      return 1;
  }
}

}  // namespace trainerd::engine
