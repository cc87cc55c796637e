// SPDX-License-Identifier: Apache-2.0
#include "server/reconcile/scheduler.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "server/ledger/queue_order.h"

namespace trainerd::server {
namespace {

// The plan while it is made: devices and running jobs that earlier jobs of the queue have taken.
class Planner {
 public:
  explicit Planner(ScheduleInput input) : input_(std::move(input)) {
    for (const RunningJob& job : input_.running) ++running_of_[job.owner];
    running_ = static_cast<int>(input_.running.size());
    for (const SchedulerDevice& device : input_.devices) {
      if (device.usable) served_[device.name] = RequestsServedBy(device.name, input_.devices);
    }
  }

  SchedulePlan Run() {
    const absl::Duration aging = input_.rules.priority_aging;
    std::sort(input_.queue.begin(), input_.queue.end(),
              [&](const QueueEntry& a, const QueueEntry& b) {
                return ComesFirst(a, b, input_.now, aging);
              });
    for (const QueueEntry& entry : input_.queue) Place(entry);
    input_.running.insert(input_.running.end(), started_.begin(), started_.end());
    plan_.reached = ReachedQuotas(input_.running, input_.quotas);
    return std::move(plan_);
  }

 private:
  bool Serves(const std::string& device, const QueueEntry& entry) const {
    const auto it = served_.find(device);
    return it != served_.end() &&
           std::find(it->second.begin(), it->second.end(), entry.device) != it->second.end();
  }

  // Whether the quotas allow one more job of this owner, once `without` has ended.
  bool QuotaAllows(const QueueEntry& entry, const RunningJob* without = nullptr) {
    const RunQuotas& quotas = input_.quotas;
    const int freed = without != nullptr ? 1 : 0;
    const int freed_of = without != nullptr && without->owner == entry.owner ? 1 : 0;
    if (quotas.max_running_jobs > 0 && running_ - freed >= quotas.max_running_jobs) return false;
    return quotas.max_running_jobs_per_owner == 0 ||
           running_of_[entry.owner] - freed_of < quotas.max_running_jobs_per_owner;
  }

  void Place(const QueueEntry& entry) {
    const bool allowed = QuotaAllows(entry);
    if (allowed && Assign(entry)) return;
    if (input_.rules.preemption && (ClaimEnding(entry) || Preempt(entry))) return;
    if (!allowed) {
      plan_.over_quota.push_back(entry);
      return;
    }
    // A device that one of these jobs frees would go to this one, not to those behind it.
    for (const auto& [device, requests] : served_) {
      if (Serves(device, entry)) reserved_.insert(device);
    }
  }

  bool Assign(const QueueEntry& entry) {
    for (SchedulerDevice& device : input_.devices) {
      if (device.busy || !Serves(device.name, entry)) continue;
      device.busy = true;
      ++running_;
      ++running_of_[entry.owner];
      started_.push_back({.id = entry.id, .owner = entry.owner});
      plan_.assignments.push_back({.job_id = entry.id, .devices = {device.name}});
      return true;
    }
    return false;
  }

  // Whether the end of `job` gives this one a device.
  bool Frees(const RunningJob& job, const QueueEntry& entry) {
    const bool serves = std::any_of(job.devices.begin(), job.devices.end(),
                                    [&](const std::string& d) { return Serves(d, entry); });
    return serves && claimed_.count(job.id) == 0 && QuotaAllows(entry, &job);
  }

  // Takes over the place of a running job.
  void Claim(const RunningJob& job, const QueueEntry& entry) {
    claimed_.insert(job.id);
    --running_of_[job.owner];
    ++running_of_[entry.owner];
  }

  bool ClaimEnding(const QueueEntry& entry) {
    for (const RunningJob& job : input_.running) {
      if (!job.ending || !Frees(job, entry)) continue;
      Claim(job, entry);
      return true;
    }
    return false;
  }

  bool Preempt(const QueueEntry& entry) {
    const RunningJob* victim = nullptr;
    for (const RunningJob& job : input_.running) {
      if (job.ending || !job.preemptible || job.priority >= entry.priority || IsReserved(job) ||
          !Frees(job, entry))
        continue;
      if (victim == nullptr || std::tie(job.priority, job.unsaved, job.id) <
                                   std::tie(victim->priority, victim->unsaved, victim->id))
        victim = &job;
    }
    if (victim == nullptr) return false;
    plan_.preemptions.push_back({.victim = victim->id, .for_job = entry.id});
    Claim(*victim, entry);
    return true;
  }

  bool IsReserved(const RunningJob& job) const {
    return std::any_of(job.devices.begin(), job.devices.end(),
                       [&](const std::string& device) { return reserved_.count(device) > 0; });
  }

  ScheduleInput input_;
  SchedulePlan plan_;
  // Values of resources.device that each usable device can serve.
  std::map<std::string, std::vector<std::string>> served_;
  // Running jobs, with those of the plan.
  int running_ = 0;
  std::map<std::string, int> running_of_;
  std::vector<RunningJob> started_;
  // Running jobs whose place an entry of the queue gets.
  std::set<std::string> claimed_;
  // Devices that no entry may free by preemption any more.
  std::set<std::string> reserved_;
};

}  // namespace

SchedulePlan Schedule(ScheduleInput input) { return Planner(std::move(input)).Run(); }

}  // namespace trainerd::server
