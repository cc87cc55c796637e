// SPDX-License-Identifier: Apache-2.0
#include "server/store/rows/metric_rows.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "proto/base/status_macros.h"

namespace trainerd::server {

absl::StatusOr<MetricState> LoadMetricState(Connection& db, int64_t job_number) {
  Query query(db, "SELECT seq, complete, names FROM metric_jobs WHERE job = ?");
  MetricState state;
  if (query.Bind(job_number).Step()) {
    state.seq = query.Int(0);
    state.complete = query.Int(1) != 0;
    const std::string_view names = query.Text(2);
    state.names =
        absl::StrSplit(absl::string_view(names.data(), names.size()), '\n', absl::SkipEmpty());
  }
  RETURN_IF_ERROR(query.status());
  return state;
}

absl::Status StoreMetricState(Connection& db, int64_t job_number, const MetricState& state) {
  Query query(db,
              "INSERT INTO metric_jobs (job, seq, complete, names) VALUES (?, ?, ?, ?) ON CONFLICT "
              "DO UPDATE SET seq = excluded.seq, complete = excluded.complete, names = "
              "excluded.names");
  return query.Bind(job_number)
      .Bind(state.seq)
      .Bind(state.complete ? 1 : 0)
      .Bind(absl::StrJoin(state.names, "\n"))
      .Run();
}

absl::Status InsertMetricChunk(Connection& db, int64_t job_number, const MetricChunk& chunk,
                               const MetricBlobs& blobs) {
  Query query(db,
              "INSERT INTO metric_chunks (job, attempt, first_step, last_step, first_trained, "
              "coarse, medium, fine) VALUES (?, ?, ?, ?, ?, ?, ?, ?)");
  return query.Bind(job_number)
      .Bind(chunk.attempt)
      .Bind(chunk.first_step)
      .Bind(chunk.last_step)
      .Bind(chunk.first_trained)
      .BindBlob(blobs.coarse)
      .BindBlob(blobs.medium)
      .BindBlob(blobs.fine)
      .Run();
}

absl::StatusOr<std::vector<MetricChunk>> ListMetricChunks(Connection& db, int64_t job_number) {
  Query query(db,
              "SELECT number, attempt, first_step, last_step, first_trained FROM metric_chunks "
              "WHERE job = ? ORDER BY number");
  query.Bind(job_number);
  std::vector<MetricChunk> chunks;
  while (query.Step()) {
    chunks.push_back({.number = query.Int(0),
                      .attempt = static_cast<int32_t>(query.Int(1)),
                      .first_step = query.Int(2),
                      .last_step = query.Int(3),
                      .first_trained = query.Int(4)});
  }
  RETURN_IF_ERROR(query.status());
  return chunks;
}

absl::StatusOr<std::string> LoadMetricBlob(Connection& db, int64_t chunk_number, MetricBlob blob) {
  const char* text = "SELECT fine FROM metric_chunks WHERE number = ?";
  if (blob == MetricBlob::kCoarse) text = "SELECT coarse FROM metric_chunks WHERE number = ?";
  if (blob == MetricBlob::kMedium) text = "SELECT medium FROM metric_chunks WHERE number = ?";
  Query query(db, text);
  if (query.Bind(chunk_number).Step()) return std::string(query.Blob(0));
  RETURN_IF_ERROR(query.status());
  return absl::DataLossError(absl::StrCat("row ", chunk_number, " of metric_chunks is missing"));
}

absl::StatusOr<IncompleteMetrics> ListIncompleteMetrics(Connection& db, int64_t after_number,
                                                        int limit) {
  Query query(db,
              "SELECT jobs.number, coalesce(metric_jobs.complete, 0) FROM jobs INDEXED BY "
              "jobs_listed LEFT JOIN metric_jobs ON metric_jobs.job = jobs.number WHERE "
              "jobs.number > ? ORDER BY jobs.number LIMIT ?");
  query.Bind(after_number).Bind(limit);
  IncompleteMetrics found;
  while (query.Step()) {
    found.through = query.Int(0);
    if (query.Int(1) == 0) found.job_numbers.push_back(query.Int(0));
  }
  RETURN_IF_ERROR(query.status());
  return found;
}

}  // namespace trainerd::server
