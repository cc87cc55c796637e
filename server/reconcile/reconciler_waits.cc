// SPDX-License-Identifier: Apache-2.0
// Waits that end by themselves: for space, for a time, for other jobs, for a retry.
#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "proto/base/status_macros.h"
#include "proto/contract/job/names.h"
#include "server/ledger/dependencies.h"
#include "server/ledger/evaluations/evaluations.h"
#include "server/ledger/ledger.h"
#include "server/ledger/transition.h"
#include "server/reconcile/queue_changes.h"
#include "server/reconcile/reconciler.h"
#include "server/store/rows/dependency_rows.h"
#include "server/store/rows/run_rows.h"
#include "spdlog/spdlog.h"

namespace trainerd::server {
namespace {

constexpr absl::Duration kSpaceEvery = absl::Seconds(10);
constexpr int kSpaceJobs = 1'000;
constexpr int kBackoffJobs = 64;
// Jobs whose wait ends in one transaction, and such transactions in one round.
constexpr int kReleasedJobs = 64;
constexpr int kReleases = 16;
constexpr absl::Duration kEvaluationsEvery = absl::Seconds(5);
constexpr int kExpiredEvaluations = 64;

void Log(const absl::Status& status, const std::string& job_id) {
  if (!status.ok()) spdlog::error("job={} {}", job_id, std::string(status.message()));
}

}  // namespace

void Reconciler::EndWaitsForSpace(absl::Time now) {
  if (now < next_space_check_) return;
  next_space_check_ = now + kSpaceEvery;
  const absl::StatusOr<std::vector<std::string>> ids = store_.Read([](Connection& db) {
    return ListWaiting(db, v1::Job::DISK, absl::InfiniteFuture(), kSpaceJobs);
  });
  if (!ids.ok()) return Log(ids.status(), "-");
  for (const std::string& id : *ids) {
    SpaceNeed need;
    const absl::Status read = store_.Read([&](Connection& db) -> absl::Status {
      ASSIGN_OR_RETURN(const JobRecord record, LoadJob(db, id));
      ASSIGN_OR_RETURN(const std::vector<CheckpointRow> rows,
                       ListCheckpointRows(db, id, /*with_deleted=*/false));
      need = SpaceToStart(ResumePoint(rows), record.ledger);
      return absl::OkStatus();
    });
    if (!read.ok()) return Log(read, id);
    // If all checkpoints are lost, the start reports it.
    if (MissingSpace(need).has_value()) continue;
    Log(store_.Change([&](Transaction& t) {
      return ChangeWait(t, id, v1::Job::RESOURCES, std::nullopt, "there is space again");
    }),
        id);
  }
}

void Reconciler::EndWaitsForJobs(absl::Time now) {
  for (int i = 0; i < kReleases; ++i) {
    const absl::StatusOr<std::optional<std::string>> news =
        store_.Read([](Connection& db) { return FirstNote(db); });
    if (!news.ok()) return Log(news.status(), "-");
    if (!news->has_value()) return;
    // Their device is checked like that of a job which was there at the start.
    devices_checked_ = false;
    const absl::Status woken =
        store_.Change([](Transaction& t) { return WakeDependents(t).status(); });
    if (!woken.ok()) return Log(woken, **news);
  }
  next_queue_check_ = now;
}

bool Reconciler::ResolveStart(const std::string& job_id) {
  const absl::StatusOr<JobRecord> record =
      store_.Read([&](Connection& db) { return LoadJob(db, job_id); });
  if (!record.ok()) {
    Log(record.status(), job_id);
    return false;
  }
  const v1::JobConfig& config = record->job.config();
  if (!StartsFromDependency(config) || !record->ledger.init_path().empty()) return true;
  PreparedJob start{.job = record->job, .ledger = record->ledger, .notices = {}};
  std::vector<ConfigViolation> violations;
  absl::Status resolved =
      ResolveCheckpoint(store_, config.init_from().checkpoint(), &start, &violations);
  if (resolved.ok()) resolved = ViolationsToStatus(violations);
  if (resolved.ok()) return StoreStart(job_id, start);
  const bool is_verdict = absl::IsNotFound(resolved) || absl::IsFailedPrecondition(resolved) ||
                          absl::IsInvalidArgument(resolved);
  if (!is_verdict) {
    ReportUnreadable(job_id, resolved);
    return false;
  }
  v1::JobError error;
  error.set_code("DEPENDENCY_FAILED");
  error.set_cause(v1::JobError::DEPENDENCY);
  error.set_message(absl::StrCat("init_from.checkpoint: ", std::string(resolved.message())));
  Log(store_.Change([&](Transaction& t) {
    return FailJob(t, job_id, error, "there is nothing to start from");
  }),
      job_id);
  return false;
}

bool Reconciler::StoreStart(const std::string& job_id, const PreparedJob& start) {
  const absl::Status stored = store_.Change([&](Transaction& t) -> absl::Status {
    ASSIGN_OR_RETURN(JobRecord record, LoadJob(t.db(), job_id));
    if (record.job.state() != v1::Job::QUEUED) return absl::AbortedError("it no longer waits");
    record.job.set_base(start.ledger.init_name());
    *record.job.mutable_alerts() = start.job.alerts();
    *record.job.mutable_progress() = start.job.progress();
    record.ledger.set_init_path(start.ledger.init_path());
    record.ledger.set_init_name(start.ledger.init_name());
    record.ledger.set_init_step(start.ledger.init_step());
    record.ledger.set_init_tokens(start.ledger.init_tokens());
    record.ledger.set_applied_step(start.ledger.applied_step());
    RETURN_IF_ERROR(StoreJob(t.db(), &record));
    return AppendNotices(t, record.job.name(), start.notices);
  });
  if (!stored.ok() && !absl::IsAborted(stored)) Log(stored, job_id);
  return stored.ok();
}

void Reconciler::EndWaitsForTime(absl::Time now) {
  for (int i = 0; i < kReleases; ++i) {
    const absl::StatusOr<std::vector<std::string>> due = store_.Read([&](Connection& db) {
      return ListWaiting(db, v1::Job::NOT_BEFORE, store_.Now(), kReleasedJobs);
    });
    if (!due.ok()) return Log(due.status(), "-");
    if (due->empty()) break;
    // Their device is checked like that of a job which was there at the start.
    devices_checked_ = false;
    const absl::Status released = store_.Change([&](Transaction& t) -> absl::Status {
      for (const std::string& id : *due) {
        RETURN_IF_ERROR(
            ChangeWait(t, id, v1::Job::RESOURCES, std::nullopt, "not_before has been reached"));
      }
      return absl::OkStatus();
    });
    if (!released.ok()) return Log(released, due->front());
  }
  const absl::StatusOr<std::optional<absl::Time>> next =
      store_.Read([](Connection& db) { return EarliestStart(db); });
  if (!next.ok()) return Log(next.status(), "-");
  if (next->has_value())
    next_queue_check_ = std::min(next_queue_check_, now + (**next - store_.Now()));
}

void Reconciler::ClearBackoff(absl::Time now) {
  const absl::StatusOr<std::vector<std::string>> ids = store_.Read(
      [&](Connection& db) { return ListWaiting(db, v1::Job::BACKOFF, now, kBackoffJobs); });
  if (!ids.ok()) return Log(ids.status(), "-");
  for (const std::string& id : *ids) {
    Log(store_.Change([&](Transaction& t) {
      return ChangeWait(t, id, v1::Job::RESOURCES, std::nullopt, "the retry delay has expired");
    }),
        id);
  }
}

absl::Time Reconciler::EndEvaluations(absl::Time now) {
  if (now < next_evaluation_check_) return next_evaluation_check_;
  next_evaluation_check_ = now + kEvaluationsEvery;
  const absl::StatusOr<std::optional<absl::Time>> first =
      store_.Read([](Connection& db) { return NextDeadline(db); });
  if (!first.ok()) Log(first.status(), "-");
  if (!first.ok() || !first->has_value()) return next_evaluation_check_;
  if (**first > now) return next_evaluation_check_ = std::min(next_evaluation_check_, **first);
  std::vector<std::string> models;
  const absl::Status ended = store_.Change([&](Transaction& t) -> absl::Status {
    ASSIGN_OR_RETURN(models, ExpireEvaluations(t, kExpiredEvaluations));
    return absl::OkStatus();
  });
  Log(ended, "-");
  if (!ended.ok()) return next_evaluation_check_;
  for (const std::string& model : models) housekeeping_.Retain(JobId(model));
  if (static_cast<int>(models.size()) == kExpiredEvaluations) next_evaluation_check_ = now;
  return next_evaluation_check_;
}

}  // namespace trainerd::server
