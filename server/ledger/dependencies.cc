// SPDX-License-Identifier: Apache-2.0
#include "server/ledger/dependencies.h"

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/enum_words.h"
#include "proto/contract/job/job_state.h"
#include "proto/contract/job/names.h"
#include "server/ledger/transition.h"
#include "server/store/errors.h"
#include "server/store/rows/dependency_rows.h"

namespace trainerd::server {
namespace {

using Dependency = v1::DependencyConfig;

// Jobs that one transaction wakes.
constexpr int kWokenJobs = 64;

DependencyRow RowOf(const v1::Job& job, const Dependency& dependency) {
  return {.job = JobId(job.name()),
          .on_job = JobId(dependency.job()),
          .condition = dependency.condition()};
}

absl::StatusOr<JobRecord> LoadDependency(Connection& db, const v1::JobConfig& config, int index) {
  absl::StatusOr<JobRecord> on = LoadJob(db, JobId(config.depends_on(index).job()));
  if (on.ok() && !on->job.deleting()) return on;
  if (!on.ok() && !absl::IsNotFound(on.status())) return on.status();
  return ErrorWithReason(
      absl::StatusCode::kNotFound, "JOB_NOT_FOUND",
      absl::StrCat("depends_on[", index, "].job: ", config.depends_on(index).job(),
                   " does not exist; submit that job first, or remove the entry"));
}

v1::JobError ErrorOf(const Dependency& dependency, const v1::Job& on) {
  v1::JobError error;
  error.set_code("DEPENDENCY_FAILED");
  error.set_cause(v1::JobError::DEPENDENCY);
  std::string what = absl::StrCat("is ", StateName(on.state()));
  if (dependency.condition() == Dependency::CONDITION_CHECKPOINT)
    absl::StrAppend(&what, " without a verified checkpoint");
  if (!on.error().message().empty()) {
    constexpr size_t kMaxReasonBytes = 500;
    absl::StrAppend(&what, " (", on.error().message().substr(0, kMaxReasonBytes), ")");
  }
  error.set_message(absl::StrCat(
      dependency.job(), " ", what,
      ", and this job waits for it with condition: ", EnumText(dependency.condition()),
      "; submit both again once the cause is removed, or this one without that dependency"));
  return error;
}

absl::Status Fail(Transaction& t, const Dependency& dependency, const v1::Job& on,
                  JobRecord* record) {
  return ApplyTransition(t,
                         {.to = v1::Job::FAILED,
                          .desired_state = record->job.desired_state(),
                          .reason = absl::StrCat(dependency.job(), " is ", StateName(on.state())),
                          .actor = "scheduler",
                          .error = ErrorOf(dependency, on)},
                         record);
}

// Lets `record` see what has become of `on`. Returns whether it waits for fewer conditions now.
absl::StatusOr<bool> Wake(Transaction& t, const v1::Job& on, JobRecord record) {
  std::vector<int32_t> rest;
  for (const int32_t index : record.ledger.pending_dependencies()) {
    const Dependency& dependency = record.job.config().depends_on(index);
    const DependencyOutcome outcome = dependency.job() == on.name()
                                          ? JudgeDependency(dependency.condition(), on)
                                          : DependencyOutcome::kPending;
    if (outcome == DependencyOutcome::kImpossible) {
      RETURN_IF_ERROR(Fail(t, Dependency(dependency), on, &record));
      return true;
    }
    if (outcome == DependencyOutcome::kPending) {
      rest.push_back(index);
    } else {
      RETURN_IF_ERROR(DeleteDependency(t.db(), RowOf(record.job, dependency)));
    }
  }
  if (static_cast<int>(rest.size()) == record.ledger.pending_dependencies_size()) return false;
  record.ledger.mutable_pending_dependencies()->Assign(rest.begin(), rest.end());
  if (!rest.empty() || record.job.wait_reason() != v1::Job::DEPENDENCY) {
    RETURN_IF_ERROR(StoreJob(t.db(), &record));
    return true;
  }
  RETURN_IF_ERROR(ApplyTransition(t,
                                  {.to = v1::Job::QUEUED,
                                   .desired_state = record.job.desired_state(),
                                   .wait_reason = v1::Job::RESOURCES,
                                   .reason = "every condition of depends_on holds",
                                   .actor = "scheduler"},
                                  &record));
  return true;
}

}  // namespace

DependencyOutcome JudgeDependency(Dependency::Condition condition, const v1::Job& on) {
  const bool ended = IsTerminal(on.state());
  const DependencyOutcome otherwise =
      ended ? DependencyOutcome::kImpossible : DependencyOutcome::kPending;
  switch (condition) {
    case Dependency::CONDITION_ENDED:
      return ended ? DependencyOutcome::kHolds : otherwise;
    case Dependency::CONDITION_CHECKPOINT:
      return on.latest_checkpoint().empty() ? otherwise : DependencyOutcome::kHolds;
    default:
      return on.state() == v1::Job::SUCCEEDED ? DependencyOutcome::kHolds : otherwise;
  }
}

absl::Status CheckDependencies(Connection& db, const v1::JobConfig& config) {
  for (int i = 0; i < config.depends_on_size(); ++i)
    RETURN_IF_ERROR(LoadDependency(db, config, i).status());
  return absl::OkStatus();
}

absl::Status AddDependencies(Transaction& transaction, JobRecord* record) {
  const v1::JobConfig& config = record->job.config();
  for (int i = 0; i < config.depends_on_size(); ++i) {
    ASSIGN_OR_RETURN(const JobRecord on, LoadDependency(transaction.db(), config, i));
    const Dependency& dependency = config.depends_on(i);
    if (JudgeDependency(dependency.condition(), on.job) == DependencyOutcome::kHolds) continue;
    record->ledger.add_pending_dependencies(i);
    const DependencyRow row = RowOf(record->job, dependency);
    RETURN_IF_ERROR(StoreDependency(transaction.db(), row));
    // It may have ended otherwise: then the job is woken to end, too.
    RETURN_IF_ERROR(NoteForDependents(transaction.db(), row.on_job, on.job));
  }
  return absl::OkStatus();
}

absl::Status DropDependencies(Transaction& transaction, JobRecord* record) {
  for (const int32_t index : record->ledger.pending_dependencies()) {
    RETURN_IF_ERROR(DeleteDependency(transaction.db(),
                                     RowOf(record->job, record->job.config().depends_on(index))));
  }
  record->ledger.clear_pending_dependencies();
  return absl::OkStatus();
}

absl::StatusOr<bool> WakeDependents(Transaction& transaction) {
  ASSIGN_OR_RETURN(const std::optional<std::string> id, FirstNote(transaction.db()));
  if (!id.has_value()) return false;
  const absl::StatusOr<JobRecord> on = LoadJob(transaction.db(), *id);
  // It cannot be deleted while a job waits for it.
  if (absl::IsNotFound(on.status())) {
    RETURN_IF_ERROR(DeleteNote(transaction.db(), *id));
    return true;
  }
  RETURN_IF_ERROR(on.status());
  ASSIGN_OR_RETURN(const std::vector<std::string> dependents,
                   ListDependents(transaction.db(), *id, !IsTerminal(on->job.state()), kWokenJobs));
  bool progress = false;
  for (const std::string& dependent : dependents) {
    ASSIGN_OR_RETURN(JobRecord record, LoadJob(transaction.db(), dependent));
    ASSIGN_OR_RETURN(const bool woken, Wake(transaction, on->job, std::move(record)));
    progress |= woken;
  }
  // A checkpoint that has been found damaged since wakes nobody.
  if (static_cast<int>(dependents.size()) < kWokenJobs || !progress)
    RETURN_IF_ERROR(DeleteNote(transaction.db(), *id));
  return true;
}

bool StartsFromDependency(const v1::JobConfig& config) {
  if (!config.has_init_from()) return false;
  const std::string& source = config.init_from().checkpoint();
  return std::any_of(config.depends_on().begin(), config.depends_on().end(),
                     [&](const Dependency& dependency) { return dependency.job() == source; });
}

}  // namespace trainerd::server
