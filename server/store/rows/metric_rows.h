// SPDX-License-Identifier: Apache-2.0
// Metrics as columns: chunks of consecutive events of a job, and up to which event they are. What
// the chunks hold is the matter of server/metrics.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/store/sqlite.h"

namespace trainerd::server {

struct MetricState {
  // The events of the job up to this one are in its chunks.
  int64_t seq = 0;
  // The job has ended, and no further metrics follow.
  bool complete = false;
  // Metric names, sorted.
  std::vector<std::string> names;
};
absl::StatusOr<MetricState> LoadMetricState(Connection& db, int64_t job_number);
absl::Status StoreMetricState(Connection& db, int64_t job_number, const MetricState& state);

struct MetricChunk {
  int64_t number = 0;
  int32_t attempt = 0;
  int64_t first_step = 0;
  int64_t last_step = 0;
  // First step of Metrics; 0 = none.
  int64_t first_trained = 0;
};
// Serialized internal.MetricColumns of three widths.
struct MetricBlobs {
  std::string coarse;
  std::string medium;
  std::string fine;
};
absl::Status InsertMetricChunk(Connection& db, int64_t job_number, const MetricChunk& chunk,
                               const MetricBlobs& blobs);
// In the order of the log.
absl::StatusOr<std::vector<MetricChunk>> ListMetricChunks(Connection& db, int64_t job_number);
enum class MetricBlob { kCoarse, kMedium, kFine };
absl::StatusOr<std::string> LoadMetricBlob(Connection& db, int64_t chunk_number, MetricBlob blob);

// Jobs after `after_number` whose metrics are not complete; reads `limit` jobs.
struct IncompleteMetrics {
  std::vector<int64_t> job_numbers;
  // The last job that was read; 0 = there are no further ones.
  int64_t through = 0;
};
absl::StatusOr<IncompleteMetrics> ListIncompleteMetrics(Connection& db, int64_t after_number,
                                                        int limit);

}  // namespace trainerd::server
