// SPDX-License-Identifier: Apache-2.0
// Admin.Drain: what becomes of running and of queued jobs while it is in force, and afterwards.
#include <vector>

#include "proto/base/status_macros.h"
#include "proto/contract/job/names.h"
#include "server/ledger/queue_wait.h"
#include "server/reconcile/queue_changes.h"
#include "server/reconcile/reconciler.h"
#include "server/reconcile/requeue.h"
#include "server/store/rows/job_rows.h"
#include "spdlog/spdlog.h"

namespace trainerd::server {
namespace {

// Jobs whose wait reason changes in one transaction, and such transactions in one round once the
// drain is over.
constexpr int kMarkedJobs = 64;
constexpr int kClears = 16;

void Log(const absl::Status& status, const std::string& job_id) {
  if (!status.ok()) spdlog::error("job={} {}", job_id, std::string(status.message()));
}

// Those that do not show the drain yet.
absl::StatusOr<std::vector<std::string>> ListWaitingForDevice(Connection& db) {
  std::vector<std::string> all;
  for (const v1::Job::WaitReason reason : kDeviceWaits) {
    if (reason == v1::Job::DRAIN) continue;
    const int limit = kMarkedJobs - static_cast<int>(all.size());
    if (limit == 0) break;
    ASSIGN_OR_RETURN(const std::vector<std::string> ids,
                     ListWaiting(db, reason, absl::InfiniteFuture(), limit));
    all.insert(all.end(), ids.begin(), ids.end());
  }
  return all;
}

absl::Status ChangeWaits(Transaction& t, const std::vector<std::string>& ids,
                         v1::Job::WaitReason wait, const std::string& reason) {
  for (const std::string& id : ids) RETURN_IF_ERROR(ChangeWait(t, id, wait, std::nullopt, reason));
  return absl::OkStatus();
}

}  // namespace

bool Reconciler::DrainAttempt(const JobRecord& record, absl::Time now) {
  const std::optional<DrainOrder> order = drain_.order();
  if (!order.has_value() || NextDrainStep(record, *order, now) == DrainStep::kNone) return false;
  const std::string job_id = JobId(record.job.name());
  bool changed = false;
  const absl::Status stored = store_.Change([&](Transaction& t) -> absl::Status {
    ASSIGN_OR_RETURN(changed, DrainJob(t, job_id, *order));
    return absl::OkStatus();
  });
  // Repeated in the next round.
  Log(stored, job_id);
  if (!stored.ok() || !changed) return false;
  spdlog::info("job={} ends its attempt because the daemon drains", job_id);
  Poke(job_id);
  return true;
}

void Reconciler::ShowDrain() {
  drain_marks_cleared_ = false;
  const absl::StatusOr<std::vector<std::string>> ids = store_.Read(ListWaitingForDevice);
  if (!ids.ok()) return Log(ids.status(), "-");
  if (ids->empty()) return;
  const absl::Status stored = store_.Change(
      [&](Transaction& t) { return ChangeWaits(t, *ids, v1::Job::DRAIN, "the daemon drains"); });
  Log(stored, ids->front());
  const bool full = static_cast<int>(ids->size()) == kMarkedJobs;
  if (stored.ok() && full) next_queue_check_ = absl::InfinitePast();
}

void Reconciler::ClearDrain() {
  for (int i = 0; i < kClears; ++i) {
    const absl::StatusOr<std::vector<std::string>> ids = store_.Read([](Connection& db) {
      return ListWaiting(db, v1::Job::DRAIN, absl::InfiniteFuture(), kMarkedJobs);
    });
    if (!ids.ok()) return Log(ids.status(), "-");
    if (!ids->empty()) {
      const absl::Status stored = store_.Change([&](Transaction& t) {
        return ChangeWaits(t, *ids, v1::Job::RESOURCES, "the daemon no longer drains");
      });
      if (!stored.ok()) return Log(stored, ids->front());
    }
    drain_marks_cleared_ = static_cast<int>(ids->size()) < kMarkedJobs;
    if (drain_marks_cleared_) return;
  }
}

}  // namespace trainerd::server
