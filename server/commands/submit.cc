// SPDX-License-Identifier: Apache-2.0
#include "server/commands/submit.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/random/random.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/config_choices.h"
#include "proto/contract/config/job_config_rules.h"
#include "proto/contract/config/model_path.h"
#include "proto/contract/job/field_upgrade.h"
#include "proto/contract/job/names.h"
#include "proto/contract/run_dir/manifest.h"
#include "server/ledger/checkpoint_scan.h"
#include "server/ledger/ledger.h"
#include "server/store/errors.h"
#include "server/store/job_rows.h"
#include "server/store/run_rows.h"

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

bool Exists(const std::string& path) {
  std::error_code error;
  return std::filesystem::exists(path, error);
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
      Add(field, Exists(path) ? absl::StrCat("not a folder: ", path) : NoModelFolderText(path));
    }
  }
  void File(const std::string& field, const std::string& path) {
    if (!Absolute(field, path)) return;
    if (!Exists(path)) {
      Add(field, absl::StrCat("no such file: ", path));
    } else if (IsFolder(path)) {
      Add(field, absl::StrCat("a folder, not a file: ", path));
    }
  }
  // A folder that the job will create. An existing folder must be the output of the same job.
  void Output(const std::string& field, const std::string& path, const std::string& job) {
    if (!Absolute(field, path) || !Exists(path)) return;
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

// The checkpoint `name`, or the resume point of the job `name`.
absl::StatusOr<v1::Checkpoint> FindBase(Connection& db, const std::string& name) {
  const std::string job_id = JobId(name);
  RETURN_IF_ERROR(LoadJob(db, job_id).status());
  const std::string id = CheckpointId(name);
  if (id.empty()) {
    ASSIGN_OR_RETURN(std::vector<CheckpointRow> rows,
                     ListCheckpointRows(db, job_id, /*with_deleted=*/false));
    std::optional<v1::Checkpoint> point = ResumePoint(rows);
    if (point.has_value()) return *point;
    return ErrorWithReason(absl::StatusCode::kFailedPrecondition, "NOTHING_TO_RESUME",
                           absl::StrCat("jobs/", job_id,
                                        " has no verified checkpoint to start from; "
                                        "start from another job"));
  }
  ASSIGN_OR_RETURN(std::optional<CheckpointRow> row, FindCheckpoint(db, job_id, id));
  if (!row) {
    return absl::NotFoundError(absl::StrCat(name, " does not exist; `trainctl checkpoints ls ",
                                            job_id, "` lists the checkpoints of the job"));
  }
  if (row->checkpoint.deleted()) {
    return ErrorWithReason(absl::StatusCode::kFailedPrecondition, "CHECKPOINT_DELETED",
                           absl::StrCat(name, " was deleted; `trainctl checkpoints ls ", job_id,
                                        "` lists the checkpoints that are left"));
  }
  if (!row->checkpoint.verified()) {
    return ErrorWithReason(absl::StatusCode::kFailedPrecondition, "CHECKPOINT_NOT_VERIFIED",
                           absl::StrCat(name, " is not verified; use a verified checkpoint"));
  }
  return row->checkpoint;
}

// As FindBase, and the checkpoint passes the quick check (the worker compares the hashes when it
// loads the checkpoint). A checkpoint that fails is marked corrupt; if `name` is a job, an older
// checkpoint is used instead.
absl::StatusOr<v1::Checkpoint> OpenBase(Store& store, const std::string& name) {
  while (true) {
    ASSIGN_OR_RETURN(const v1::Checkpoint base,
                     store.Read([&](Connection& db) { return FindBase(db, name); }));
    const absl::Status checked = QuickCheckCheckpoint(base);
    if (checked.ok()) return base;
    if (!absl::IsNotFound(checked) && !absl::IsDataLoss(checked)) {
      return Annotate(checked, base.name());
    }
    std::string advice;
    RETURN_IF_ERROR(store.Change([&](Transaction& t) -> absl::Status {
      ASSIGN_OR_RETURN(advice, MarkBaseCorrupt(t, base, std::string(checked.message())));
      return absl::OkStatus();
    }));
    if (CheckpointId(name).empty()) continue;
    return ErrorWithReason(absl::StatusCode::kFailedPrecondition, "CHECKPOINT_DAMAGED",
                           absl::StrCat(name, " is corrupt: ", checked.message(), advice));
  }
}

// The configuration of the job `request.from()`, overridden by what the request sets.
absl::Status MergeBase(Store& store, const v1::SubmitJobRequest& request, v1::JobConfig* config,
                       std::vector<std::string>* given) {
  ASSIGN_OR_RETURN(const v1::Checkpoint base, OpenBase(store, request.from()));
  ASSIGN_OR_RETURN(const JobRecord record,
                   store.Read([&](Connection& db) { return LoadJob(db, JobId(request.from())); }));
  v1::JobConfig merged = record.job.config();
  // Lists are replaced, not appended to; an output folder belongs to one job.
  if (config->data().train_size() > 0) merged.mutable_data()->clear_train();
  if (config->optimizer().betas_size() > 0) merged.mutable_optimizer()->clear_betas();
  if (config->train().freeze_size() > 0) merged.mutable_train()->clear_freeze();
  merged.clear_output();
  merged.MergeFrom(*config);
  merged.mutable_init_from()->set_checkpoint(base.name());
  if (!config->init_from().has_state())
    merged.mutable_init_from()->set_state(v1::InitFromConfig::STATE_FULL);
  given->assign(record.job.given().begin(), record.job.given().end());
  *config = std::move(merged);
  return absl::OkStatus();
}

// The job's lineage begins at a checkpoint of `step`, so its progress does too.
void BeginFrom(int64_t step, int64_t tokens, PreparedJob* prepared) {
  prepared->ledger.set_init_step(step);
  prepared->ledger.set_init_tokens(tokens);
  prepared->ledger.set_applied_step(step);
  prepared->job.mutable_progress()->set_step(step);
  prepared->job.mutable_progress()->set_tokens(tokens);
}

// Resolves init_from to a folder on this machine.
absl::Status ResolveInitFrom(Store& store, PreparedJob* prepared,
                             std::vector<ConfigViolation>* violations) {
  const v1::JobConfig& config = prepared->job.config();
  if (!config.has_init_from()) return absl::OkStatus();
  const std::string& source = config.init_from().checkpoint();
  const bool full = ContinuesFromCheckpoint(config.init_from().state());
  if (absl::StartsWith(source, "jobs/")) {
    ASSIGN_OR_RETURN(const v1::Checkpoint base, OpenBase(store, source));
    if (full) BeginFrom(base.step(), base.tokens(), prepared);
    prepared->ledger.set_init_path(base.path());
    prepared->ledger.set_init_name(base.name());
    if (full && !base.has_optimizer()) {
      violations->push_back(
          {.path = "init_from.state",
           .message = absl::StrCat(base.name(),
                                   " has no optimizer state; set init_from.state to weights")});
    }
    return absl::OkStatus();
  }
  absl::StatusOr<Manifest> manifest = ReadManifest(source);
  if (!IsFolder(source)) {
    violations->push_back(
        {.path = "init_from.checkpoint",
         .message = absl::StrCat(source, " does not exist; use a checkpoint folder or jobs/ID")});
  } else if (full && (!manifest.ok() || !manifest->has_optimizer)) {
    violations->push_back({.path = "init_from.state",
                           .message = absl::StrCat(
                               source, " has no optimizer state; set init_from.state to weights")});
  }
  if (manifest.ok() || absl::IsDataLoss(manifest.status())) {
    v1::Checkpoint folder;
    folder.set_path(source);
    if (const absl::Status checked = QuickCheckCheckpoint(folder); !checked.ok()) {
      violations->push_back(
          {.path = "init_from.checkpoint",
           .message = absl::StrCat(source, ": ", checked.message(), "; use another checkpoint")});
    }
  }
  if (full && manifest.ok()) BeginFrom(manifest->step, manifest->tokens, prepared);
  prepared->ledger.set_init_path(source);
  return absl::OkStatus();
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
  if (!request.from().empty()) {
    RETURN_IF_ERROR(MergeBase(store, request, &config, &base_given));
  }
  std::vector<ConfigViolation> violations;
  v1::ResolvedJobConfig resolved =
      ResolveJobConfig(config, {.now = now, .default_name = "job"}, &violations);
  if (!violations.empty()) return ViolationsToStatus(violations);

  PreparedJob prepared;
  v1::Job& job = prepared.job;
  job.set_name(JobName(request.job_id().empty() ? NewId() : request.job_id()));
  job.set_run_dir(absl::StrCat(runs_dir, "/", JobId(job.name())));
  *job.mutable_config() = std::move(*resolved.mutable_config());
  job.set_config_digest(resolved.config_digest());
  if (request.from().empty()) {
    *job.mutable_given() = resolved.given();
  } else {
    std::vector<std::string> paths = FieldPaths(submitted);
    std::set<std::string> given(base_given.begin(), base_given.end());
    given.insert(paths.begin(), paths.end());
    given.insert({"init_from.checkpoint", "init_from.state"});
    job.mutable_given()->Assign(given.begin(), given.end());
  }
  RETURN_IF_ERROR(ResolveInitFrom(store, &prepared, &violations));
  job.set_from(prepared.ledger.init_name());
  CheckFiles(job.config(), job.name(), &violations);
  CheckDevice(devices, job.config(), &violations);
  if (!violations.empty()) return ViolationsToStatus(violations);
  return prepared;
}

}  // namespace trainerd::server
