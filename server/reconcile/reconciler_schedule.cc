// SPDX-License-Identifier: Apache-2.0
// Which queued job gets which device: reads queue and running jobs, decides (scheduler.h), and
// carries the plan out.
#include <algorithm>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "proto/base/status_macros.h"
#include "server/reconcile/queue_changes.h"
#include "server/reconcile/reconciler.h"
#include "server/reconcile/requeue.h"
#include "server/reconcile/scheduler.h"
#include "server/store/rows/job_rows.h"
#include "spdlog/spdlog.h"

namespace trainerd::server {
namespace {

constexpr absl::Duration kQueueEvery = absl::Seconds(1);
// Jobs at the head of the queue that show that a quota keeps them waiting.
constexpr int kQuotaJobs = 16;
constexpr int kClearedJobs = 64;

void Log(const absl::Status& status, const std::string& job_id) {
  if (!status.ok()) spdlog::error("job={} {}", job_id, std::string(status.message()));
}

// The first jobs of the queue for each device that `input` needs to decide.
class QueueReader {
 public:
  QueueReader(Connection& db, ScheduleInput* input) : db_(db), input_(*input) {}

  absl::Status Read() {
    const QuotaUse use = ReachedQuotas(input_.running, input_.quotas);
    const bool limited = use.total || !use.owners.empty();
    const int devices = static_cast<int>(input_.devices.size());
    for (const SchedulerDevice& device : input_.devices) {
      if (!device.usable) continue;
      for (const std::string& request : RequestsServedBy(device.name, input_.devices)) {
        if (!device.busy && !use.total) RETURN_IF_ERROR(Add(request, use.owners, devices));
        // Those that a quota keeps waiting show it, or may preempt.
        if (limited || input_.rules.preemption)
          RETURN_IF_ERROR(Add(request, {}, std::max(devices, limited ? kQuotaJobs : 0)));
      }
    }
    return absl::OkStatus();
  }

 private:
  absl::Status Add(const std::string& request, const std::vector<std::string>& without_owners,
                   int limit) {
    if (!done_.insert({request, without_owners.size(), limit}).second) return absl::OkStatus();
    ASSIGN_OR_RETURN(std::vector<QueueEntry> entries,
                     ListQueue(db_,
                               {.device = request,
                                .now = input_.now,
                                .aging = input_.rules.priority_aging,
                                .without_owners = without_owners},
                               limit));
    for (QueueEntry& entry : entries) {
      if (numbers_.insert(entry.number).second) input_.queue.push_back(std::move(entry));
    }
    return absl::OkStatus();
  }

  Connection& db_;
  ScheduleInput& input_;
  std::set<std::tuple<std::string, size_t, int>> done_;
  std::set<int64_t> numbers_;
};

}  // namespace

void Reconciler::StepQueue(absl::Time now) {
  next_queue_check_ = now + kQueueEvery;
  EndWaitsForJobs(now);
  EndWaitsForTime(now);
  if (drain_.in_force()) {
    EndWaitsForSpace(now);
    ClearBackoff(now);
    return ShowDrain();
  }
  if (!drain_marks_cleared_) ClearDrain();
  if (!CheckPrograms(now)) return;
  if (!devices_checked_) FailUnknownDevices();
  EndWaitsForSpace(now);
  ScheduleInput input{.queue = {},
                      .devices = devices_.ForScheduler(),
                      .quotas = options_.rules.quotas,
                      .rules = options_.rules.scheduling,
                      .now = now};
  Log(store_.Read([&](Connection& db) { return ReadQueue(db, &input); }), "-");
  const SchedulePlan plan = Schedule(std::move(input));
  for (const Assignment& a : plan.assignments) StartJob(a.job_id, a.devices);
  for (const Preemption& preemption : plan.preemptions) PreemptFor(preemption);
  ShowQuotas(plan);
  ClearBackoff(now);
}

absl::Status Reconciler::ReadQueue(Connection& db, ScheduleInput* input) {
  if (input->quotas.any() || input->rules.preemption) {
    for (const auto& [id, attempt] : attempts_) {
      ASSIGN_OR_RETURN(const JobRecord record, LoadJob(db, id));
      input->running.push_back(DescribeRunning(record, input->rules, input->now));
    }
  }
  return QueueReader(db, input).Read();
}

void Reconciler::PreemptFor(const Preemption& preemption) {
  bool ends = false;
  const absl::Status stored = store_.Change([&](Transaction& t) -> absl::Status {
    ASSIGN_OR_RETURN(ends, Preempt(t, preemption, options_.rules.scheduling));
    return absl::OkStatus();
  });
  Log(stored, preemption.victim);
  if (!ends) return;
  spdlog::info("job={} is preempted by job={}", preemption.victim, preemption.for_job);
  Poke(preemption.victim);
}

void Reconciler::ShowQuotas(const SchedulePlan& plan) {
  if (!options_.rules.quotas.any() && quota_marks_cleared_) return;
  int marked = 0;
  for (const QueueEntry& entry : plan.over_quota) {
    if (++marked > kQuotaJobs) break;
    if (entry.wait_reason != v1::Job::RESOURCES) continue;
    Log(store_.Change([&](Transaction& t) {
      return ChangeWait(t, entry.id, v1::Job::QUOTA, std::nullopt,
                        "as many jobs run as quotas allow");
    }),
        entry.id);
  }
  const absl::StatusOr<std::vector<QueueEntry>> waiting =
      store_.Read([&](Connection& db) { return ListQuotaWaits(db, kClearedJobs); });
  if (!waiting.ok()) return Log(waiting.status(), "-");
  for (const QueueEntry& entry : *waiting) {
    if (plan.reached.Keeps(entry.owner)) continue;
    Log(store_.Change([&, id = entry.id](Transaction& t) {
      return ChangeWait(t, id, v1::Job::RESOURCES, std::nullopt, "quotas allow it to run");
    }),
        entry.id);
  }
  quota_marks_cleared_ = waiting->empty();
}

}  // namespace trainerd::server
