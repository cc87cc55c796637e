// SPDX-License-Identifier: Apache-2.0
// Which jobs match a filter, in which order: numbers of rows, from indices alone, so that a page of
// 100,000 jobs needs no more of their rows than it shows.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto/contract/config/label_selector.h"
#include "server/store/rows/job_rows.h"
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
  // which they do, then the others in the order of submission.
  kQueue,
};

// An element of a list: what it is sorted by, and its job's number. Of kCreated the number alone.
struct JobPosition {
  int64_t number = 0;
  int64_t value = 0;
  // Of kQueue: what orders jobs of one priority.
  int64_t order = 0;
  std::string name;

  auto operator<=>(const JobPosition& other) const {
    if (const auto later = value <=> other.value; later != 0) return later;
    if (const auto later = order <=> other.order; later != 0) return later;
    if (const int later = name.compare(other.name); later != 0) return later <=> 0;
    return number <=> other.number;
  }
};

struct JobQuery {
  JobFilter filter;
  JobOrder order = JobOrder::kCreated;
  bool descending = true;
  // Only what comes after it; number 0 = from the beginning.
  JobPosition after;
  int limit = 100;
};

// The first `limit` matches. Of a base, the row itself must be checked, too: MatchesBase.
absl::StatusOr<std::vector<JobPosition>> FindJobs(Connection& db, const JobQuery& query);

// Whether the job's base is `base`, or a checkpoint of it. True for an empty `base`.
bool MatchesBase(const v1::Job& job, const std::string& base);

}  // namespace trainerd::server
