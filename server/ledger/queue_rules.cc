// SPDX-License-Identifier: Apache-2.0
#include "server/ledger/queue_rules.h"

#include <algorithm>
#include <map>

#include "proto/base/time.h"
#include "proto/contract/job/names.h"

namespace trainerd::server {

QueueRules QueueRulesOf(const v1::ServerConfig& config) {
  const v1::QuotaConfig& quotas = config.quotas();
  const v1::SchedulingConfig& scheduling = config.scheduling();
  return {.quotas = {.max_running_jobs = quotas.max_running_jobs(),
                     .max_running_jobs_per_owner = quotas.max_running_jobs_per_owner()},
          .scheduling = {.priority_aging = FromProto(scheduling.priority_aging()),
                         .preemption = scheduling.preemption(),
                         .preemption_min_time = FromProto(scheduling.preemption_min_time())}};
}

bool IsPreemptible(const JobRecord& record, absl::Duration min_time, absl::Time now) {
  const v1::Job& job = record.job;
  const internal::JobLedger& ledger = record.ledger;
  return job.state() == v1::Job::RUNNING && job.desired_state() == v1::Job::DESIRED_RUN &&
         !ledger.save_final_begun() && ledger.has_running_since() &&
         now - FromProto(ledger.running_since()) >= min_time;
}

RunningJob DescribeRunning(const JobRecord& record, const SchedulingRules& rules, absl::Time now) {
  const v1::Job& job = record.job;
  const internal::JobLedger& ledger = record.ledger;
  absl::Time saved = now;
  if (ledger.has_attempt_since()) saved = FromProto(ledger.attempt_since());
  if (ledger.has_verified_since()) saved = FromProto(ledger.verified_since());
  return {.id = JobId(job.name()),
          .owner = job.owner(),
          .devices = {job.devices().begin(), job.devices().end()},
          .priority = job.config().priority(),
          .ending = job.state() == v1::Job::PAUSING || job.state() == v1::Job::STOPPING,
          .preemptible = IsPreemptible(record, rules.preemption_min_time, now),
          .unsaved = (now - saved) * std::max(1, job.devices_size())};
}

bool QuotaUse::Keeps(const std::string& owner) const {
  return total || std::find(owners.begin(), owners.end(), owner) != owners.end();
}

QuotaUse ReachedQuotas(const std::vector<RunningJob>& running, const RunQuotas& quotas) {
  QuotaUse use;
  const int count = static_cast<int>(running.size());
  use.total = quotas.max_running_jobs > 0 && count >= quotas.max_running_jobs;
  if (quotas.max_running_jobs_per_owner == 0) return use;
  std::map<std::string, int> of_owner;
  for (const RunningJob& job : running) {
    if (++of_owner[job.owner] == quotas.max_running_jobs_per_owner) use.owners.push_back(job.owner);
  }
  return use;
}

}  // namespace trainerd::server
