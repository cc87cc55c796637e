// SPDX-License-Identifier: Apache-2.0
#include "server/commands/submit/file_checks.h"

#include <sys/stat.h>

#include <optional>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "proto/base/atomic_file.h"
#include "proto/base/directory.h"
#include "proto/contract/config/advice/model_path.h"
#include "proto/contract/config/advice/path_advice.h"
#include "proto/contract/job/names.h"
#include "proto/contract/run_dir/output_path.h"

namespace trainerd::server {
namespace {

class FileCheck {
 public:
  explicit FileCheck(std::vector<ConfigViolation>* violations) : violations_(violations) {
    for (const ConfigViolation& violation : *violations) refused_.insert(violation.path);
  }

  void Model(const std::string& field, const std::string& path) {
    if (!IsToCheck(field, path) || IsFolder(path)) return;
    Add(field, NoModelFolderText(path));
  }
  void Folder(const std::string& field, const std::string& path) {
    if (!IsToCheck(field, path) || IsFolder(path)) return;
    if (PathExists(path)) return Add(field, absl::StrCat("not a folder: ", path));
    const std::string advice = MissingPathAdvice(path);
    Add(field, absl::StrCat("no such folder: ", path, advice.empty() ? "" : "; ", advice));
  }
  void File(const std::string& field, const std::string& path) {
    struct stat info;
    if (!absl::StartsWith(path, "/") && refused_.count(field) == 0) {
      if (std::optional<UploadPath> upload = ParseUploadPath(path))
        return uploads_.push_back({.field = field, .upload = *std::move(upload)});
    }
    if (!IsToCheck(field, path)) return;
    if (stat(path.c_str(), &info) != 0) {
      const std::string advice = MissingPathAdvice(path);
      return Add(field, absl::StrCat("no such file: ", path, advice.empty() ? "" : "; ", advice));
    }
    const std::string kind = SpecialFileKind(info.st_mode);
    if (!kind.empty()) Add(field, absl::StrCat(kind, ", not a file: ", path));
  }
  void Output(const std::string& field, const std::string& path, const std::string& job) {
    if (!IsToCheck(field, path)) return;
    const absl::Status status = CheckOutputPath(path, job);
    if (!status.ok()) Add(field, std::string(status.message()));
  }
  // A checkpoint of another job, or a folder.
  void Checkpoint(const std::string& field, const std::string& source) {
    if (!absl::StartsWith(source, "jobs/")) {
      IsToCheck(field, source);
    } else if (refused_.count(field) == 0 && !ParseJobOrCheckpointName(source).has_value()) {
      violations_->push_back({.path = field,
                              .message = absl::StrCat(Quoted(source),
                                                      " is not the name of a job or a checkpoint; "
                                                      "use jobs/ID or jobs/ID/checkpoints/ID"),
                              .reason = "INVALID_NAME"});
    }
  }

  std::vector<NamedUpload> uploads() && { return std::move(uploads_); }

 private:
  // Whether nothing is known against `path` yet and it is absolute.
  bool IsToCheck(const std::string& field, const std::string& path) {
    if (path.empty() || refused_.count(field) > 0) return false;
    if (absl::StartsWith(path, "/")) return true;
    Add(field, ParseUploadPath(path).has_value()
                   ? absl::StrCat(Quoted(path),
                                  " is an upload, and this is no key of a file; name a "
                                  "folder on the daemon's machine")
                   : absl::StrCat(Quoted(path), " is a relative path; send an absolute path"));
    return false;
  }
  void Add(const std::string& field, const std::string& message) {
    violations_->push_back({.path = field, .message = message});
  }

  std::vector<ConfigViolation>* const violations_;
  std::set<std::string> refused_;
  std::vector<NamedUpload> uploads_;
};

}  // namespace

std::vector<NamedUpload> CheckFiles(const v1::JobConfig& config, const std::string& job,
                                    std::vector<ConfigViolation>* violations) {
  FileCheck check(violations);
  check.Model("model.path", config.model().path());
  for (int i = 0; i < config.data().train_size(); ++i) {
    check.File(absl::StrCat("data.train[", i, "].path"), config.data().train(i).path());
  }
  check.File("data.validation", config.data().validation());
  const std::string& chat_template = config.data().chat_template();
  if (absl::EndsWith(chat_template, ".jinja")) check.File("data.chat_template", chat_template);
  check.Folder("lora.adapter_path", config.lora().adapter_path());
  check.File("samples.prompts", config.samples().prompts());
  check.Output("output.path", config.output().path(), job);
  check.Checkpoint("init_from.checkpoint", config.init_from().checkpoint());
  return std::move(check).uploads();
}

}  // namespace trainerd::server
