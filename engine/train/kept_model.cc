// SPDX-License-Identifier: Apache-2.0
#include "engine/train/kept_model.h"

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "engine/checkpoint/checkpoint_name.h"
#include "engine/core/job_error.h"
#include "engine/model/config/generation_config.h"
#include "engine/model/config/model_config.h"
#include "engine/model/model_writer.h"
#include "proto/base/atomic_file.h"
#include "proto/base/directory.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

absl::Status Untie(const std::string& folder) {
  const std::string path = folder + "/config.json";
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  ASSIGN_OR_RETURN(const std::string untied, UntiedModelConfig(text));
  return WriteFileAtomic(path, untied, 0644);
}

// Returns whether generation_config.json was written.
absl::StatusOr<bool> Change(const std::string& folder, const KeptModelChanges& changes) {
  if (changes.is_untied) RETURN_IF_ERROR(Untie(folder));
  if (!changes.chat_template.empty()) {
    RETURN_IF_ERROR(RemoveAll(folder + "/additional_chat_templates"));
    RETURN_IF_ERROR(WriteFileAtomic(folder + "/chat_template.jinja", changes.chat_template, 0644));
  }
  if (!changes.end_of_turn.has_value()) return false;
  ASSIGN_OR_RETURN(const std::string generation,
                   GenerationConfigWith(folder, *changes.end_of_turn));
  if (generation.empty()) return false;
  RETURN_IF_ERROR(WriteFileAtomic(folder + "/generation_config.json", generation, 0644));
  return true;
}

}  // namespace

std::string KeptModelFolder(const std::string& run_dir) { return run_dir + "/model"; }

absl::StatusOr<bool> KeepModelFiles(const internal::AttemptSpec& spec,
                                    const KeptModelChanges& changes) {
  const std::string temporary =
      absl::StrCat(spec.run_dir(), "/", TemporaryName(spec.attempt(), "model"));
  RETURN_IF_ERROR(RemoveAll(temporary));
  RETURN_IF_ERROR(MakeDirectories(temporary));
  ASSIGN_OR_RETURN(const auto files,
                   CopyModelFiles(spec.config().config().model().path(), temporary));
  for (const auto& [name, file] : files) {
    RETURN_IF_ERROR(
        FsyncPath(std::filesystem::path(absl::StrCat(temporary, "/", name)).parent_path()));
  }
  ASSIGN_OR_RETURN(const bool is_new, Change(temporary, changes));
  RETURN_IF_ERROR(FsyncPath(temporary));
  RETURN_IF_ERROR(CheckFence(spec.run_dir(), spec.attempt()));
  RETURN_IF_ERROR(RenameDurable(temporary, KeptModelFolder(spec.run_dir())));
  return is_new;
}

}  // namespace trainerd::engine
