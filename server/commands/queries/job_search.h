// SPDX-License-Identifier: Apache-2.0
// Which jobs match a filter, in which order: numbers of rows, from store/job_index alone, so that a
// page of 100,000 jobs needs no more of their rows than it shows.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto/contract/config/label_selector.h"
#include "server/store/job_index.h"
#include "server/store/sqlite.h"

namespace trainerd::server {

// All of it must hold.
struct JobFilter {
  // Empty = all.
  std::vector<v1::Job::State> states;
  LabelSelector labels;
  // config.name; empty = any. `name_prefix`: it begins with it.
  std::string name;
  bool name_prefix = false;
  std::string owner;
  // Name of a job, or of a checkpoint, that the job's base is or belongs to; empty = any.
  std::string base;
  // Job.create_time: from, inclusive; to, exclusive.
  absl::Time created_after = absl::InfinitePast();
  absl::Time created_before = absl::InfiniteFuture();
};

enum class JobOrder {
  // Of submission.
  kCreated,
  // Jobs that have not ended come before all others.
  kEnded,
  kPriority,
  kName,
  // QUEUED jobs alone, whatever the filter's states: first those that can start, in the order in
  // which they do (ledger/queue_order), then the others in the order of submission.
  kQueue,
};

// An element of a list: what it is sorted by, and its job's number. Of kCreated the number alone.
struct JobPosition {
  int64_t number = 0;
  // Of kEnded the end time, of kPriority the priority. Of kQueue the effective priority, or
  // kCannotStart.
  int64_t value = 0;
  // Of kQueue: what orders jobs of one priority.
  int64_t order = 0;
  std::string name = {};
};
// Below every priority.
inline constexpr int kCannotStart = -1000;

struct JobQuery {
  JobFilter filter;
  JobOrder order = JobOrder::kCreated;
  bool descending = true;
  // Only what comes after it; number 0 = from the beginning.
  JobPosition after;
  int limit = 100;
  // Of kQueue: when (Store::SteadyNow), and SchedulingConfig.priority_aging. All pages of a list
  // have one `queue_time`, so that the order is the same in each.
  absl::Time queue_time = absl::UnixEpoch();
  absl::Duration aging = absl::ZeroDuration();
};

// The first `limit` matches. Must be the first read of its transaction (store/job_index). Of a
// base, the row itself must be checked, too: MatchesBase.
absl::StatusOr<std::vector<JobPosition>> FindJobs(JobIndex& index, Connection& db,
                                                  const JobQuery& query);

// Whether the job's base is `base`, or a checkpoint of it. True for an empty `base`.
bool MatchesBase(const v1::Job& job, const std::string& base);

}  // namespace trainerd::server
