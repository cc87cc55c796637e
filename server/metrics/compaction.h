// SPDX-License-Identifier: Apache-2.0
// Moves the metrics of a job from its events into columns: a step that reads, and a short change
// that stores what was read. After a crash in between, the step is repeated.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/metrics/metric_columns.h"
#include "server/store/rows/metric_rows.h"
#include "server/store/store.h"

namespace trainerd::server {

// A chunk holds so many events with metrics, or what the job has when it ends.
inline constexpr int kChunkEvents = 1024;

// Metrics of one attempt; attempt 0 = of the job itself.
struct AttemptMetrics {
  int32_t attempt = 0;
  // Of Metrics; 0 = none.
  int64_t first_trained = 0;
  int64_t first_step = 0;
  int64_t last_step = 0;
  MetricMap metrics;
};

// Metrics of a job that are not in chunks yet.
struct RecentMetrics {
  // By attempt.
  std::vector<AttemptMetrics> attempts;
  int events = 0;
  // They are those up to this event.
  int64_t through = 0;
  // There are further ones.
  bool more = false;
};
// At most `max_events` of them.
absl::StatusOr<RecentMetrics> ReadRecentMetrics(Connection& db, const std::string& job_id,
                                                int64_t after, int max_events);

// Adds one chunk of each job, if it has enough for one, and stores them in one change of limited
// size. Returns the jobs that may have more.
absl::StatusOr<std::vector<int64_t>> CompactMetrics(Store& store,
                                                    const std::vector<int64_t>& job_numbers);

}  // namespace trainerd::server
