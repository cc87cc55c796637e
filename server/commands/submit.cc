// SPDX-License-Identifier: Apache-2.0
#include "server/commands/submit.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <utility>
#include <vector>

#include "absl/random/random.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "proto/base/directory.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/job_config_rules.h"
#include "proto/contract/config/model_path.h"
#include "proto/contract/job/field_upgrade.h"
#include "proto/contract/job/names.h"
#include "proto/contract/run_dir/manifest.h"
#include "server/commands/job_base.h"
#include "server/store/errors.h"

namespace trainerd::server {
namespace {

constexpr size_t kMaxIdLength = 40;

std::string NewId() {
  absl::BitGen random;
  return absl::StrFormat("%012x", absl::Uniform<uint64_t>(random) >> 16);
}

bool IsValidId(const std::string& id) {
  // "jobs/-" means all jobs, and clients accept "latest" for the newest job.
  return !id.empty() && id.size() <= kMaxIdLength && id.front() != '-' && id != "latest" &&
         std::all_of(id.begin(), id.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
         });
}

bool IsFolder(const std::string& path) {
  std::error_code error;
  return std::filesystem::is_directory(path, error);
}

// Collects the violations of the paths in a configuration.
class FileCheck {
 public:
  explicit FileCheck(std::vector<ConfigViolation>* violations) : violations_(violations) {}

  void Model(const std::string& field, const std::string& path) {
    if (Absolute(field, path) && !IsFolder(path)) {
      Add(field, PathExists(path) ? absl::StrCat("not a folder: ", path) : NoModelFolderText(path));
    }
  }
  void File(const std::string& field, const std::string& path) {
    if (!Absolute(field, path)) return;
    if (!PathExists(path)) {
      Add(field, absl::StrCat("no such file: ", path));
    } else if (IsFolder(path)) {
      Add(field, absl::StrCat("a folder, not a file: ", path));
    }
  }
  // A folder that the job will create. An existing folder must be the output of the same job.
  void Output(const std::string& field, const std::string& path, const std::string& job) {
    if (!Absolute(field, path)) return;
    if (!PathExists(path)) {
      const absl::Status creatable = CheckCreatable(path);
      if (creatable.ok()) return;
      return Add(field, absl::StrCat(path, " cannot be created (", creatable.message(),
                                     "); choose a folder that the daemon can create"));
    }
    absl::StatusOr<Manifest> manifest = ReadManifest(path);
    if (manifest.ok() && manifest->job == job) return;
    Add(field,
        absl::StrCat(
            path,
            " already exists; set it to a folder that does not exist, or move this one away"));
  }
  void Add(const std::string& field, const std::string& message) {
    violations_->push_back({.path = field, .message = message});
  }

 private:
  bool Absolute(const std::string& field, const std::string& path) {
    if (absl::StartsWith(path, "/")) return true;
    Add(field, absl::StrCat("\"", path, "\" is a relative path; send an absolute path"));
    return false;
  }
  std::vector<ConfigViolation>* violations_;
};

void CheckFiles(const v1::JobConfig& config, const std::string& job,
                std::vector<ConfigViolation>* violations) {
  FileCheck check(violations);
  check.Model("model.path", config.model().path());
  for (int i = 0; i < config.data().train_size(); ++i) {
    check.File(absl::StrCat("data.train[", i, "].path"), config.data().train(i).path());
  }
  if (!config.data().validation().empty()) {
    check.File("data.validation", config.data().validation());
  }
  const std::string& chat_template = config.data().chat_template();
  if (absl::EndsWith(chat_template, ".jinja")) check.File("data.chat_template", chat_template);
  if (config.samples().has_prompts()) check.File("samples.prompts", config.samples().prompts());
  if (!config.output().path().empty()) check.Output("output.path", config.output().path(), job);
}

void CheckDevice(const DeviceTable& devices, const v1::JobConfig& config,
                 std::vector<ConfigViolation>* violations) {
  const std::string& device = config.resources().device();
  if (device == "auto" || !devices.known() || devices.Find(device).has_value()) return;
  std::vector<std::string> names;
  for (const v1::Device& d : devices.List()) names.push_back(d.name());
  violations->push_back({.path = "resources.device",
                         .message = absl::StrCat("this machine has no device \"", device,
                                                 "\"; it has ", absl::StrJoin(names, ", "))});
}

}  // namespace

absl::StatusOr<PreparedJob> PrepareJob(Store& store, const DeviceTable& devices,
                                       const std::string& runs_dir,
                                       const v1::SubmitJobRequest& request, absl::Time now) {
  if (!request.job_id().empty() && !IsValidId(request.job_id())) {
    return BadField("job_id",
                    absl::StrCat("\"", request.job_id(),
                                 "\" must match [a-z0-9][a-z0-9-]{0,39} and not be \"latest\""));
  }
  v1::JobConfig submitted = request.config();
  RETURN_IF_ERROR(UpgradeFields(&submitted));
  v1::JobConfig config = submitted;
  std::vector<std::string> base_given;
  PreparedJob prepared;
  if (!request.base().empty()) {
    RETURN_IF_ERROR(MergeBase(store, request.base(), &config, &base_given, &prepared.notices));
  }
  std::vector<ConfigViolation> violations;
  v1::ResolvedJobConfig resolved =
      ResolveJobConfig(config, {.now = now, .default_name = "job"}, &violations);
  if (!violations.empty()) return ViolationsToStatus(violations);

  v1::Job& job = prepared.job;
  job.set_name(JobName(request.job_id().empty() ? NewId() : request.job_id()));
  job.set_run_dir(absl::StrCat(runs_dir, "/", JobId(job.name())));
  *job.mutable_config() = std::move(*resolved.mutable_config());
  job.set_config_digest(resolved.config_digest());
  if (request.base().empty()) {
    *job.mutable_given() = resolved.given();
  } else {
    std::vector<std::string> paths = FieldPaths(submitted);
    std::set<std::string> given(base_given.begin(), base_given.end());
    given.insert(paths.begin(), paths.end());
    given.insert({"init_from.checkpoint", "init_from.state"});
    // Without what the base job was given and this job does not have.
    paths = FieldPaths(job.config());
    const std::set<std::string> present(paths.begin(), paths.end());
    std::erase_if(given, [&](const std::string& path) { return present.count(path) == 0; });
    job.mutable_given()->Assign(given.begin(), given.end());
  }
  RETURN_IF_ERROR(ResolveInitFrom(store, &prepared, &violations));
  job.set_base(prepared.ledger.init_name());
  CheckFiles(job.config(), job.name(), &violations);
  CheckDevice(devices, job.config(), &violations);
  if (!violations.empty()) return ViolationsToStatus(violations);
  RETURN_IF_ERROR(CheckStepsLeft(store, prepared));
  return prepared;
}

}  // namespace trainerd::server
