// SPDX-License-Identifier: Apache-2.0
#include "server/commands/job_base.h"

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
#include "proto/contract/config/enum_words.h"
#include "proto/contract/job/alerts.h"
#include "proto/contract/job/names.h"
#include "proto/contract/job/start_form.h"
#include "proto/contract/job/steps_left.h"
#include "proto/contract/run_dir/found_checkpoint.h"
#include "proto/contract/run_dir/manifest.h"
#include "server/commands/request.h"
#include "server/ledger/checkpoint_scan.h"
#include "server/ledger/ledger.h"
#include "server/store/errors.h"
#include "server/store/job_rows.h"
#include "server/store/run_rows.h"

namespace trainerd::server {
namespace {

// The damaged checkpoints on the lineage beyond `step`, newest first.
absl::StatusOr<std::vector<v1::Checkpoint>> DamagedBeyond(Connection& db, const std::string& job_id,
                                                          int64_t step) {
  ASSIGN_OR_RETURN(std::vector<CheckpointRow> rows,
                   ListCheckpointRows(db, job_id, /*with_deleted=*/false));
  std::vector<v1::Checkpoint> damaged;
  for (CheckpointRow& row : rows) {
    const v1::Checkpoint& checkpoint = row.checkpoint;
    if (!checkpoint.damage().empty() && !checkpoint.superseded() && checkpoint.step() > step)
      damaged.push_back(std::move(row.checkpoint));
  }
  return damaged;
}

std::string DamageText(const v1::Checkpoint& checkpoint) {
  return absl::StrCat(checkpoint.name(), " is damaged (", checkpoint.damage(), ")");
}

absl::StatusOr<v1::Checkpoint> FindResumePoint(Connection& db, const v1::Job& job) {
  const std::string job_id = JobId(job.name());
  ASSIGN_OR_RETURN(std::vector<CheckpointRow> rows,
                   ListCheckpointRows(db, job_id, /*with_deleted=*/false));
  std::optional<v1::Checkpoint> point = ResumePoint(rows);
  if (point.has_value()) return *point;
  ASSIGN_OR_RETURN(const std::vector<v1::Checkpoint> damaged, DamagedBeyond(db, job_id, 0));
  const std::string advice = FinalModelAdvice(job.run_dir());
  return ErrorWithReason(
      absl::StatusCode::kFailedPrecondition, "NOTHING_TO_RESUME",
      absl::StrCat("jobs/", job_id, " has no verified checkpoint to start from",
                   damaged.empty() ? "" : absl::StrCat(": ", DamageText(damaged.front())), "; ",
                   advice.empty() ? "start from another job" : advice));
}

// The checkpoint `name`, or the resume point of the job `name`.
absl::StatusOr<v1::Checkpoint> FindBase(Connection& db, const std::string& name) {
  const std::string job_id = JobId(name);
  ASSIGN_OR_RETURN(const JobRecord record, LoadJob(db, job_id));
  const std::string id = CheckpointId(name);
  if (id.empty()) return FindResumePoint(db, record.job);
  ASSIGN_OR_RETURN(std::optional<CheckpointRow> row, FindCheckpoint(db, job_id, id));
  if (!row) {
    return ErrorWithReason(absl::StatusCode::kNotFound, "CHECKPOINT_NOT_FOUND",
                           absl::StrCat(name, " does not exist; `trainctl checkpoints ls ", job_id,
                                        "` lists the checkpoints of the job"));
  }
  if (row->checkpoint.deleted()) {
    return ErrorWithReason(absl::StatusCode::kFailedPrecondition, "CHECKPOINT_DELETED",
                           absl::StrCat(name, " was deleted; `trainctl checkpoints ls ", job_id,
                                        "` lists the checkpoints that are left"));
  }
  if (!row->checkpoint.verified()) {
    return ErrorWithReason(
        absl::StatusCode::kFailedPrecondition, "CHECKPOINT_NOT_VERIFIED",
        row->checkpoint.damage().empty()
            ? absl::StrCat(name, " is not verified; use a verified checkpoint")
            : absl::StrCat(DamageText(row->checkpoint), "; use a verified checkpoint"));
  }
  return row->checkpoint;
}

// For a job as base: names the newer checkpoint that cannot be used.
absl::Status ReportDamaged(Store& store, const v1::Checkpoint& base,
                           std::vector<v1::Notice>* notices) {
  ASSIGN_OR_RETURN(const std::vector<v1::Checkpoint> damaged, store.Read([&](Connection& db) {
    return DamagedBeyond(db, JobId(base.name()), base.step());
  }));
  if (damaged.empty()) return absl::OkStatus();
  v1::Notice& notice = notices->emplace_back();
  notice.set_level(v1::Notice::WARNING);
  notice.set_code("CHECKPOINT_DAMAGED");
  notice.set_message(absl::StrCat(DamageText(damaged.front()), ", so the job starts from ",
                                  base.name(), ", which is ", damaged.front().step() - base.step(),
                                  " steps older"));
  return absl::OkStatus();
}

// As FindBase, and the checkpoint passes the quick check (the worker compares the hashes when it
// loads the checkpoint). A checkpoint that fails is marked corrupt; if `name` is a job, an older
// checkpoint is used instead, with a notice.
absl::StatusOr<v1::Checkpoint> OpenBase(Store& store, const std::string& name,
                                        std::vector<v1::Notice>* notices) {
  const bool is_job = CheckpointId(name).empty();
  while (true) {
    ASSIGN_OR_RETURN(const v1::Checkpoint base,
                     store.Read([&](Connection& db) { return FindBase(db, name); }));
    const absl::Status checked = QuickCheckCheckpoint(base);
    if (checked.ok()) {
      if (is_job) RETURN_IF_ERROR(ReportDamaged(store, base, notices));
      return base;
    }
    if (!absl::IsNotFound(checked) && !absl::IsDataLoss(checked)) {
      return Annotate(checked, base.name());
    }
    std::string advice;
    RETURN_IF_ERROR(store.Change([&](Transaction& t) -> absl::Status {
      ASSIGN_OR_RETURN(advice, MarkBaseCorrupt(t, base, std::string(checked.message())));
      return absl::OkStatus();
    }));
    if (is_job) continue;
    return ErrorWithReason(absl::StatusCode::kFailedPrecondition, "CHECKPOINT_DAMAGED",
                           absl::StrCat(name, " is corrupt: ", checked.message(), advice));
  }
}

absl::StatusOr<v1::Job> LoadJobOf(Store& store, const std::string& name) {
  ASSIGN_OR_RETURN(JobRecord record,
                   store.Read([&](Connection& db) { return LoadJob(db, JobId(name)); }));
  return std::move(record.job);
}

// The job's lineage begins at a checkpoint of `step`, so its progress does too.
void BeginFrom(int64_t step, int64_t tokens, PreparedJob* prepared) {
  prepared->ledger.set_init_step(step);
  prepared->ledger.set_init_tokens(tokens);
  prepared->ledger.set_applied_step(step);
  prepared->job.mutable_progress()->set_step(step);
  prepared->job.mutable_progress()->set_tokens(tokens);
}

void CheckOptimizer(const v1::OptimizerConfig& ours, const v1::OptimizerConfig& theirs,
                    const std::string& base, std::vector<ConfigViolation>* violations) {
  const std::vector<std::string> needed = OptimizerStates(ours), held = OptimizerStates(theirs);
  if (needed.empty() || needed == held) return;
  // Muon keeps each of its states for some parameters alone, so all of another optimizer's may be
  // among them.
  const auto missing = std::find_if(needed.begin(), needed.end(), [&](const std::string& state) {
    return std::find(held.begin(), held.end(), state) == held.end();
  });
  const std::string what = missing != needed.end()
                               ? absl::StrCat("no ", *missing)
                               : absl::StrCat(needed.front(), " of some parameters alone,");
  violations->push_back(
      {.path = "init_from.state",
       .message = absl::StrCat(base, " was trained with ", EnumText(theirs.type()), " and holds ",
                               what, " for ", EnumText(ours.type()),
                               "; set init_from.state=weights to start with a new optimizer")});
}

// Whether the job and what it starts from are both with or both without an adapter.
bool CheckForm(const v1::JobConfig& config, const std::string& folder, bool holds_adapter,
               std::vector<ConfigViolation>* violations) {
  const std::string error = StartFormError(config, folder, holds_adapter);
  if (!error.empty()) violations->push_back({.path = "init_from.checkpoint", .message = error});
  return error.empty();
}

absl::Status ResolveCheckpoint(Store& store, const std::string& source, PreparedJob* prepared,
                               std::vector<ConfigViolation>* violations) {
  ASSIGN_OR_RETURN(const v1::Checkpoint base, OpenBase(store, source, &prepared->notices));
  prepared->ledger.set_init_path(base.path());
  prepared->ledger.set_init_name(base.name());
  if (!CheckForm(prepared->job.config(), base.path(), base.adapter(), violations))
    return absl::OkStatus();
  if (!ContinuesFromCheckpoint(prepared->job.config().init_from().state())) return absl::OkStatus();
  BeginFrom(base.step(), base.tokens(), prepared);
  if (!base.has_optimizer()) {
    violations->push_back(
        {.path = "init_from.state",
         .message =
             absl::StrCat(base.name(), " has no optimizer state; set init_from.state to weights")});
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const v1::Job theirs, LoadJobOf(store, base.name()));
  *prepared->job.mutable_alerts() = theirs.alerts();
  RewindAlerts(base.step(), &prepared->job);
  CheckOptimizer(prepared->job.config().optimizer(), theirs.config().optimizer(), base.name(),
                 violations);
  return absl::OkStatus();
}

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
  *config = std::move(merged);
  return absl::OkStatus();
}

absl::Status ResolveInitFrom(Store& store, PreparedJob* prepared,
                             std::vector<ConfigViolation>* violations) {
  const v1::JobConfig& config = prepared->job.config();
  if (!config.has_init_from()) return absl::OkStatus();
  const std::string source = config.init_from().checkpoint();
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
