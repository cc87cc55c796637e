// SPDX-License-Identifier: Apache-2.0
// The settings that limit and order the jobs that run, and what they say about those that run now.
#pragma once

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "server/store/rows/job_rows.h"
#include "trainerd/v1/server_config.pb.h"

namespace trainerd::server {

// ServerConfig.quotas; 0 = no limit.
struct RunQuotas {
  int max_running_jobs = 0;
  int max_running_jobs_per_owner = 0;
  bool any() const { return max_running_jobs > 0 || max_running_jobs_per_owner > 0; }
};

// ServerConfig.scheduling
struct SchedulingRules {
  absl::Duration priority_aging = absl::ZeroDuration();
  bool preemption = false;
  absl::Duration preemption_min_time = absl::Minutes(10);
};

struct QueueRules {
  RunQuotas quotas = {};
  SchedulingRules scheduling = {};
};
QueueRules QueueRulesOf(const v1::ServerConfig& config);

// A job with an open attempt.
struct RunningJob {
  std::string id;
  std::string owner = {};
  std::vector<std::string> devices = {};
  // config.priority
  int priority = 0;
  // Its attempt is being ended: the device will be free.
  bool ending = false;
  // A job of higher priority may take its device.
  bool preemptible = false;
  // Device time since its newest verified checkpoint, or since its start without one in this
  // attempt.
  absl::Duration unsaved = absl::ZeroDuration();
};

// Whether this job may be preempted: RUNNING for `min_time`, and not about to end by itself. Pure.
bool IsPreemptible(const JobRecord& record, absl::Duration min_time, absl::Time now);
// What the scheduler needs of a job with an open attempt. Pure.
RunningJob DescribeRunning(const JobRecord& record, const SchedulingRules& rules, absl::Time now);

// The quotas that are used up.
struct QuotaUse {
  // max_running_jobs
  bool total = false;
  // Owners with max_running_jobs_per_owner.
  std::vector<std::string> owners = {};
  // Whether a job of this owner has to wait.
  bool Keeps(const std::string& owner) const;
};
// Pure.
QuotaUse ReachedQuotas(const std::vector<RunningJob>& running, const RunQuotas& quotas);

}  // namespace trainerd::server
