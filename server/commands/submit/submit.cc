// SPDX-License-Identifier: Apache-2.0
#include "server/commands/submit/submit.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/random/random.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "proto/base/directory.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/config_paths.h"
#include "proto/contract/config/rules/job_config_rules.h"
#include "proto/contract/job/field_upgrade.h"
#include "proto/contract/job/names.h"
#include "server/commands/submit/file_checks.h"
#include "server/commands/submit/job_base.h"
#include "server/ledger/dependencies.h"
#include "server/store/errors.h"
#include "server/store/rows/job_rows.h"

namespace trainerd::server {
namespace {

std::string NewId() {
  absl::BitGen random;
  return absl::StrFormat("%012x", absl::Uniform<uint64_t>(random) >> 16);
}

bool HasViolation(const std::vector<ConfigViolation>& violations, const std::string& field) {
  return std::any_of(violations.begin(), violations.end(),
                     [&](const ConfigViolation& violation) { return violation.path == field; });
}

void CheckDevice(const DeviceTable& devices, const v1::JobConfig& config,
                 std::vector<ConfigViolation>* violations) {
  const std::string& device = config.resources().device();
  if (device == "auto" || !devices.known() || devices.Find(device).has_value() ||
      HasViolation(*violations, "resources.device"))
    return;
  std::vector<std::string> names;
  for (const v1::Device& d : devices.List()) names.push_back(d.name());
  violations->push_back({.path = "resources.device",
                         .message = absl::StrCat("this machine has no device ", Quoted(device),
                                                 "; it has ", absl::StrJoin(names, ", "))});
}

absl::Status CheckJobId(const std::string& id) {
  // Clients accept "latest" for the newest job.
  if (id.empty() || (IsJobId(id) && id != "latest")) return absl::OkStatus();
  return WithReason(
      BadField("job_id", absl::StrCat(Quoted(id),
                                      " must match [a-z0-9][a-z0-9-]{0,39} and not be \"latest\"")),
      "INVALID_NAME");
}

// The paths that the job was given: those of the request, and those of the base that it has kept.
std::vector<std::string> GivenPaths(const std::vector<std::string>& submitted,
                                    const std::vector<std::string>& base_given,
                                    const v1::JobConfig& resolved) {
  std::set<std::string> given(base_given.begin(), base_given.end());
  given.insert(submitted.begin(), submitted.end());
  given.insert({"init_from.checkpoint", "init_from.state"});
  const std::vector<std::string> paths = FieldPaths(resolved);
  const std::set<std::string> present(paths.begin(), paths.end());
  std::erase_if(given, [&](const std::string& path) { return present.count(path) == 0; });
  return {given.begin(), given.end()};
}

// As ResolveInitFrom. An error of its checkpoint is one violation among others, if there are any.
absl::Status ResolveStart(Store& store, PreparedJob* prepared,
                          std::vector<ConfigViolation>* violations) {
  constexpr char kField[] = "init_from.checkpoint";
  if (HasViolation(*violations, kField)) return absl::OkStatus();
  const absl::Status status = ResolveInitFrom(store, prepared, violations);
  if (status.ok() || violations->empty()) return status;
  violations->push_back({.path = kField, .message = std::string(status.message())});
  return absl::OkStatus();
}

// Gives the jobs of depends_on their full names, and checks that they exist.
absl::Status ResolveDependencies(Store& store, v1::JobConfig* config,
                                 std::vector<ConfigViolation>* violations) {
  if (config->depends_on().empty()) return absl::OkStatus();
  bool named = true;
  for (int i = 0; i < config->depends_on_size(); ++i) {
    v1::DependencyConfig& dependency = *config->mutable_depends_on(i);
    const std::optional<std::string> id = ParseJobName(dependency.job());
    if (id.has_value()) {
      dependency.set_job(JobName(*id));
      continue;
    }
    named = false;
    if (!dependency.has_job()) continue;  // it is required
    violations->push_back({.path = absl::StrCat("depends_on[", i, "].job"),
                           .message = absl::StrCat(Quoted(dependency.job()),
                                                   " is not the name of a job; use jobs/ID"),
                           .reason = "INVALID_NAME"});
  }
  if (!named) return absl::OkStatus();
  const absl::Status status =
      store.Read([&](Connection& db) { return CheckDependencies(db, *config); });
  if (status.ok() || violations->empty()) return status;
  violations->push_back({.path = "depends_on", .message = std::string(status.message())});
  return absl::OkStatus();
}

// Gives each upload the name that the job uses for it.
absl::Status LinkUploads(FileStore* files, const std::vector<NamedUpload>& uploads,
                         PreparedJob* prepared, std::vector<ConfigViolation>* violations) {
  for (const NamedUpload& named : uploads) {
    const absl::Status linked =
        files == nullptr ? NoSuchFile(named.upload.sha256_hex) : files->Link(named.upload);
    if (!linked.ok() && violations->empty()) return Annotate(linked, named.field);
    if (!linked.ok())
      violations->push_back({.path = named.field, .message = std::string(linked.message())});
    prepared->uploads.push_back(named.upload.sha256_hex);
  }
  return absl::OkStatus();
}

absl::Status CheckOutputFree(Store& store, const PreparedJob& prepared,
                             std::vector<ConfigViolation>* violations) {
  // A job without output needs no read of the database.
  if (prepared.ledger.output_path().empty() || HasViolation(*violations, "output.path"))
    return absl::OkStatus();
  ASSIGN_OR_RETURN(std::string conflict,
                   store.Read([&](Connection& db) { return OutputConflict(db, prepared); }));
  if (!conflict.empty())
    violations->push_back({.path = "output.path", .message = std::move(conflict)});
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> OutputConflict(Connection& db, const PreparedJob& prepared) {
  if (prepared.ledger.output_path().empty()) return "";
  ASSIGN_OR_RETURN(const std::vector<std::string> others,
                   JobsWithOutput(db, prepared.ledger.output_path()));
  if (others.empty()) return "";
  return absl::StrCat(prepared.job.config().output().path(), " is already the output of jobs/",
                      others.front(), ", or one is inside the other; use another folder");
}

absl::StatusOr<PreparedJob> PrepareJob(const SubmitParts& parts,
                                       const v1::SubmitJobRequest& request, const Caller& caller,
                                       absl::Time now) {
  RETURN_IF_ERROR(CheckJobId(request.job_id()));
  v1::JobConfig config = request.config();
  RETURN_IF_ERROR(UpgradeFields(&config));
  NormalizeAbsolutePaths(&config);
  std::vector<std::string> submitted, base_given;
  PreparedJob prepared;
  if (!request.base().empty()) {
    submitted = FieldPaths(config);
    RETURN_IF_ERROR(
        MergeBase(parts.store, request.base(), &config, &base_given, &prepared.notices));
  }
  std::vector<ConfigViolation> violations;
  v1::ResolvedJobConfig resolved =
      ResolveJobConfig(config, {.now = now, .default_name = "job"}, &violations);
  // It is too large to be checked further.
  if (!resolved.has_config()) return ViolationsToStatus(violations);

  v1::Job& job = prepared.job;
  job.set_name(JobName(request.job_id().empty() ? NewId() : request.job_id()));
  job.set_owner(caller.principal);
  job.set_run_dir(absl::StrCat(parts.runs_dir, "/", JobId(job.name())));
  *job.mutable_config() = std::move(*resolved.mutable_config());
  job.set_config_digest(resolved.config_digest());
  *job.mutable_given() = resolved.given();
  if (!request.base().empty()) {
    const std::vector<std::string> given = GivenPaths(submitted, base_given, job.config());
    job.mutable_given()->Assign(given.begin(), given.end());
  }
  parts.paths.Check(job.config(), caller, &violations);
  parts.notify.Check(job.config(), &violations);
  const std::vector<NamedUpload> uploads = CheckFiles(job.config(), job.name(), &violations);
  if (!job.config().output().path().empty())
    prepared.ledger.set_output_path(ResolveLinks(job.config().output().path()));
  RETURN_IF_ERROR(CheckOutputFree(parts.store, prepared, &violations));
  CheckDevice(parts.devices, job.config(), &violations);
  RETURN_IF_ERROR(ResolveDependencies(parts.store, job.mutable_config(), &violations));
  RETURN_IF_ERROR(ResolveStart(parts.store, &prepared, &violations));
  RETURN_IF_ERROR(LinkUploads(parts.files, uploads, &prepared, &violations));
  job.set_base(prepared.ledger.init_name());
  if (!violations.empty()) return ViolationsToStatus(violations);
  RETURN_IF_ERROR(CheckStepsLeft(parts.store, prepared));
  return prepared;
}

}  // namespace trainerd::server
