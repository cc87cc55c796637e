// SPDX-License-Identifier: Apache-2.0
#include "server/commands/submit/job_base.h"

#include <sys/stat.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "proto/base/directory.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/config_choices.h"
#include "proto/contract/config/config_digest.h"
#include "proto/contract/config/config_merge.h"
#include "proto/contract/job/names.h"
#include "proto/contract/job/plan/steps_left.h"
#include "proto/contract/run_dir/found_checkpoint.h"
#include "proto/contract/run_dir/manifest.h"
#include "server/commands/request.h"
#include "server/ledger/base_checkpoint.h"
#include "server/ledger/dependencies.h"
#include "server/ledger/disk/checkpoint_scan.h"
#include "server/store/errors.h"
#include "server/store/rows/job_rows.h"

namespace trainerd::server {
namespace {

void ResolveFolder(const std::string& source, PreparedJob* prepared,
                   std::vector<ConfigViolation>* violations) {
  const bool full = ContinuesFromCheckpoint(prepared->job.config().init_from().state());
  const absl::StatusOr<Manifest> manifest = ReadManifest(source);
  if (!IsFolder(source)) {
    violations->push_back({.path = "init_from.checkpoint",
                           .message = absl::StrCat(
                               source, PathExists(source) ? " is not a folder" : " does not exist",
                               "; use a checkpoint folder or jobs/ID")});
  } else if (full && (!manifest.ok() || !manifest->has_optimizer)) {
    violations->push_back({.path = "init_from.state",
                           .message = absl::StrCat(
                               source, " has no optimizer state; set init_from.state to weights")});
  } else {
    CheckForm(prepared->job.config(), source, HoldsAdapter(source), violations);
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
}

// Whether the job certainly has as many steps per epoch as `base`: its data, and what packs them,
// are the same.
bool HasSameEpochs(const v1::JobConfig& ours, const v1::Job& base) {
  for (const ConfigDifference& difference : IdentityDifferences(ours, base.config())) {
    const std::string& path = difference.path;
    if (absl::StartsWith(path, "data") || absl::StartsWith(path, "model") ||
        path == "train.batch_size" || path == "train.gradient_accumulation" || path == "train.seed")
      return false;
  }
  // Records may have been added since. The worker, which reads the data, decides then.
  for (const v1::DataSource& file : ours.data().train()) {
    struct stat info;
    if (stat(file.path().c_str(), &info) != 0 || info.st_mtime >= base.start_time().seconds())
      return false;
  }
  return true;
}

// A step at which the job ends at the latest; nullopt: only its data shows it.
absl::StatusOr<std::optional<int64_t>> LastStep(Store& store, const PreparedJob& prepared) {
  const v1::JobConfig& ours = prepared.job.config();
  if (ours.train().has_max_steps()) return std::optional<int64_t>(ours.train().max_steps());
  if (prepared.ledger.init_name().empty()) return std::optional<int64_t>();
  ASSIGN_OR_RETURN(const v1::Job base, LoadJobOf(store, prepared.ledger.init_name()));
  const bool known = base.progress().has_total_steps() && !base.config().train().has_max_steps() &&
                     ours.train().epochs() <= base.config().train().epochs() &&
                     HasSameEpochs(ours, base);
  return known ? std::optional<int64_t>(base.progress().total_steps()) : std::nullopt;
}

}  // namespace

absl::Status MergeBase(Store& store, const std::string& from, v1::JobConfig* config,
                       std::vector<std::string>* given, std::vector<v1::Notice>* notices) {
  ASSIGN_OR_RETURN(const ResourceName parts, RequestedJobOrCheckpoint("base", from));
  const std::string job_name = JobName(parts.job_id);
  ASSIGN_OR_RETURN(
      const v1::Checkpoint base,
      OpenBase(
          store,
          parts.checkpoint_id.empty() ? job_name : CheckpointName(job_name, parts.checkpoint_id),
          notices));
  ASSIGN_OR_RETURN(const v1::Job job, LoadJobOf(store, job_name));
  v1::JobConfig merged = MergeJobConfig(job.config(), *config);
  merged.mutable_init_from()->set_checkpoint(base.name());
  if (!config->init_from().has_state())
    merged.mutable_init_from()->set_state(v1::InitFromConfig::STATE_FULL);
  given->assign(job.given().begin(), job.given().end());
  // It is not taken over, and has a default.
  std::erase(*given, "suspended");
  *config = std::move(merged);
  return absl::OkStatus();
}

absl::Status ResolveInitFrom(Store& store, PreparedJob* prepared,
                             std::vector<ConfigViolation>* violations) {
  const v1::JobConfig& config = prepared->job.config();
  if (!config.has_init_from()) return absl::OkStatus();
  const std::string source = config.init_from().checkpoint();
  if (StartsFromDependency(config)) return CheckDependencyAsStart(store, *prepared, violations);
  if (absl::StartsWith(source, "jobs/"))
    return ResolveCheckpoint(store, source, prepared, violations);
  // CheckFiles refuses a relative one.
  if (absl::StartsWith(source, "/")) ResolveFolder(source, prepared, violations);
  return absl::OkStatus();
}

absl::Status CheckStepsLeft(Store& store, const PreparedJob& prepared) {
  const int64_t step = prepared.ledger.init_step();
  if (step == 0) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::optional<int64_t> last, LastStep(store, prepared));
  if (!last.has_value() || *last > step) return absl::OkStatus();
  const std::string& name = prepared.ledger.init_name();
  if (*last == step) {
    // A job that failed after its last step has no final model yet; a new job can save it.
    if (name.empty()) return absl::OkStatus();
    ASSIGN_OR_RETURN(const v1::Job base, LoadJobOf(store, name));
    if (base.state() != v1::Job::SUCCEEDED) return absl::OkStatus();
  }
  return ErrorWithReason(
      absl::StatusCode::kFailedPrecondition, "NOTHING_TO_TRAIN",
      NoStepLeftText(prepared.job.config(), name.empty() ? prepared.ledger.init_path() : name, step,
                     *last));
}

}  // namespace trainerd::server
