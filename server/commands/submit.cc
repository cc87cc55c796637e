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
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "proto/base/hash.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/config_choices.h"
#include "proto/contract/config/job_config_rules.h"
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
  // "jobs/-" means all jobs, and clients say "latest" for the newest.
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

// Collects what is wrong with the files that a configuration names.
class FileCheck {
 public:
  explicit FileCheck(std::vector<ConfigViolation>* violations) : violations_(violations) {}

  void Folder(const std::string& field, const std::string& path) {
    if (Absolute(field, path) && !IsFolder(path)) {
      Add(field, absl::StrCat(Exists(path) ? "not a folder: " : "no such folder: ", path));
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
  // A folder that will be made; one that is there must be of the job itself.
  void Output(const std::string& field, const std::string& path, const std::string& job) {
    if (!Absolute(field, path) || !Exists(path)) return;
    absl::StatusOr<Manifest> manifest = ReadManifest(path);
    if (manifest.ok() && manifest->job == job) return;
    Add(field, absl::StrCat(path, " exists already; name a folder that does not, or remove it"));
  }
  void Add(const std::string& field, const std::string& message) {
    violations_->push_back({.path = field, .message = message});
  }

 private:
  bool Absolute(const std::string& field, const std::string& path) {
    if (absl::StartsWith(path, "/")) return true;
    Add(field, absl::StrCat("\"", path, "\" is a relative path; the client makes paths absolute"));
    return false;
  }
  std::vector<ConfigViolation>* violations_;
};

void CheckFiles(const v1::JobConfig& config, const std::string& job,
                std::vector<ConfigViolation>* violations) {
  FileCheck check(violations);
  check.Folder("model.path", config.model().path());
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
                         .message = absl::StrCat("this machine has no \"", device, "\"; it has ",
                                                 absl::StrJoin(names, ", "))});
}

// The checkpoint that `name` means: itself, or the newest verified one of the job.
absl::StatusOr<v1::Checkpoint> FindBase(Connection& db, const std::string& name) {
  const std::string job_id = JobId(name);
  RETURN_IF_ERROR(LoadJob(db, job_id).status());
  const std::string id = CheckpointId(name);
  if (id.empty()) {
    ASSIGN_OR_RETURN(std::vector<CheckpointRow> rows,
                     ListCheckpointRows(db, job_id, /*with_deleted=*/false));
    std::optional<v1::Checkpoint> point = ResumePoint(rows);
    if (point.has_value()) return *point;
    return ErrorWithReason(
        absl::StatusCode::kFailedPrecondition, "NOTHING_TO_RESUME",
        absl::StrCat("jobs/", job_id, " has no verified checkpoint to start from"));
  }
  ASSIGN_OR_RETURN(std::optional<CheckpointRow> row, FindCheckpoint(db, job_id, id));
  if (!row) {
    return absl::NotFoundError(absl::StrCat("no checkpoint ", name, "; `trainctl checkpoints ls ",
                                            job_id, "` shows those that there are"));
  }
  if (row->checkpoint.deleted()) {
    return ErrorWithReason(absl::StatusCode::kFailedPrecondition, "CHECKPOINT_DELETED",
                           absl::StrCat(name, " has been removed"));
  }
  if (!row->checkpoint.verified()) {
    return ErrorWithReason(absl::StatusCode::kFailedPrecondition, "CHECKPOINT_NOT_VERIFIED",
                           absl::StrCat(name, " has not been verified"));
  }
  return row->checkpoint;
}

// The same, and it lies on the disk as it was published (hashes are compared by the worker that
// loads it). One that does not is no longer verified; where `name` means the newest, an older one
// serves.
absl::StatusOr<v1::Checkpoint> OpenBase(Store& store, const std::string& name) {
  while (true) {
    v1::Checkpoint base;
    RETURN_IF_ERROR(store.Read([&](Connection& db) -> absl::Status {
      ASSIGN_OR_RETURN(base, FindBase(db, name));
      return absl::OkStatus();
    }));
    const absl::Status good = QuickCheckCheckpoint(base);
    if (good.ok()) return base;
    if (!absl::IsNotFound(good) && !absl::IsDataLoss(good)) return Annotate(good, base.name());
    std::string advice;
    RETURN_IF_ERROR(store.Change([&](Transaction& t) -> absl::Status {
      ASSIGN_OR_RETURN(advice, MarkBaseCorrupt(t, base, std::string(good.message())));
      return absl::OkStatus();
    }));
    if (CheckpointId(name).empty()) continue;
    return ErrorWithReason(absl::StatusCode::kFailedPrecondition, "CHECKPOINT_DAMAGED",
                           absl::StrCat(name, " cannot be started from: ", good.message(), advice));
  }
}

// What `from` says, as configuration: that job's, with the differences of the request on top.
absl::Status MergeBase(Store& store, const v1::SubmitJobRequest& request, v1::JobConfig* config,
                       std::vector<std::string>* given) {
  ASSIGN_OR_RETURN(const v1::Checkpoint base, OpenBase(store, request.from()));
  JobRecord record;
  RETURN_IF_ERROR(store.Read([&](Connection& db) -> absl::Status {
    ASSIGN_OR_RETURN(record, LoadJob(db, JobId(request.from())));
    return absl::OkStatus();
  }));
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

// The job's lineage begins at a checkpoint of `step`, not at step 0: that is its progress until it
// makes some of its own.
void BeginFrom(int64_t step, int64_t tokens, PreparedJob* prepared) {
  prepared->ledger.set_init_step(step);
  prepared->ledger.set_init_tokens(tokens);
  prepared->ledger.set_applied_step(step);
  prepared->job.mutable_progress()->set_step(step);
  prepared->job.mutable_progress()->set_tokens(tokens);
}

// init_from as a folder on this machine.
absl::Status ResolveInitFrom(Store& store, PreparedJob* prepared,
                             std::vector<ConfigViolation>* violations) {
  const v1::JobConfig& config = prepared->job.config();
  if (!config.has_init_from()) return absl::OkStatus();
  const std::string& wanted = config.init_from().checkpoint();
  const bool full = ContinuesFromCheckpoint(config.init_from().state());
  if (absl::StartsWith(wanted, "jobs/")) {
    ASSIGN_OR_RETURN(const v1::Checkpoint base, OpenBase(store, wanted));
    if (full) BeginFrom(base.step(), base.tokens(), prepared);
    prepared->ledger.set_init_path(base.path());
    prepared->ledger.set_init_name(base.name());
    if (full && !base.has_optimizer()) {
      violations->push_back(
          {.path = "init_from.state",
           .message = absl::StrCat(base.name(), " holds no optimizer state; use state: weights")});
    }
    return absl::OkStatus();
  }
  absl::StatusOr<Manifest> manifest = ReadManifest(wanted);
  if (!IsFolder(wanted)) {
    violations->push_back({.path = "init_from.checkpoint",
                           .message = absl::StrCat("no such checkpoint folder: ", wanted)});
  } else if (full && (!manifest.ok() || !manifest->has_optimizer)) {
    violations->push_back(
        {.path = "init_from.state",
         .message = absl::StrCat(wanted, " holds no optimizer state; use state: weights")});
  }
  if (manifest.ok() || absl::IsDataLoss(manifest.status())) {
    v1::Checkpoint folder;
    folder.set_path(wanted);
    if (const absl::Status good = QuickCheckCheckpoint(folder); !good.ok()) {
      violations->push_back(
          {.path = "init_from.checkpoint",
           .message = absl::StrCat(wanted, " cannot be started from: ", good.message())});
    }
  }
  if (full && manifest.ok()) BeginFrom(manifest->step, manifest->tokens, prepared);
  prepared->ledger.set_init_path(wanted);
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

std::string RequestHash(const google::protobuf::Message& request) {
  std::unique_ptr<google::protobuf::Message> copy(request.New());
  copy->CopyFrom(request);
  const auto* field = copy->GetDescriptor()->FindFieldByName("request_id");
  if (field != nullptr) copy->GetReflection()->ClearField(copy.get(), field);
  std::string bytes = copy->GetTypeName();
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream out(&stream);
    out.SetSerializationDeterministic(true);
    copy->SerializeToCodedStream(&out);
  }
  return Sha256(bytes);
}

}  // namespace trainerd::server
