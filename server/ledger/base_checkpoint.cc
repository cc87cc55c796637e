// SPDX-License-Identifier: Apache-2.0
#include "server/ledger/base_checkpoint.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/config_choices.h"
#include "proto/contract/config/enum_words.h"
#include "proto/contract/job/alerts.h"
#include "proto/contract/job/names.h"
#include "proto/contract/job/plan/start_form.h"
#include "server/ledger/checkpoints/load_checkpoint.h"
#include "server/ledger/disk/checkpoint_scan.h"
#include "server/ledger/ledger.h"
#include "server/store/errors.h"
#include "server/store/rows/job_rows.h"
#include "server/store/rows/run_rows.h"

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
  if (CheckpointId(name).empty()) {
    ASSIGN_OR_RETURN(const JobRecord record, LoadJob(db, JobId(name)));
    return FindResumePoint(db, record.job);
  }
  ASSIGN_OR_RETURN(CheckpointRow row, LoadVerifiedCheckpoint(db, name));
  return std::move(row.checkpoint);
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

}  // namespace

absl::Status AppendNotices(Transaction& transaction, const std::string& name,
                           const std::vector<v1::Notice>& notices) {
  for (const v1::Notice& notice : notices) {
    v1::Event event;
    event.set_job(name);
    *event.mutable_notice() = notice;
    RETURN_IF_ERROR(transaction.Append(std::move(event)));
  }
  return absl::OkStatus();
}

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

void BeginFrom(int64_t step, int64_t tokens, PreparedJob* prepared) {
  prepared->ledger.set_init_step(step);
  prepared->ledger.set_init_tokens(tokens);
  prepared->ledger.set_applied_step(step);
  prepared->job.mutable_progress()->set_step(step);
  prepared->job.mutable_progress()->set_tokens(tokens);
}

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

absl::Status CheckDependencyAsStart(Store& store, const PreparedJob& prepared,
                                    std::vector<ConfigViolation>* violations) {
  const v1::JobConfig& config = prepared.job.config();
  const std::string& source = config.init_from().checkpoint();
  ASSIGN_OR_RETURN(const v1::Job theirs, LoadJobOf(store, source));
  if (CheckForm(config, source, theirs.config().has_lora(), violations) &&
      ContinuesFromCheckpoint(config.init_from().state())) {
    CheckOptimizer(config.optimizer(), theirs.config().optimizer(), source, violations);
  }
  return absl::OkStatus();
}

}  // namespace trainerd::server
