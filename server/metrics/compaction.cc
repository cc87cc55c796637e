// SPDX-License-Identifier: Apache-2.0
#include "server/metrics/compaction.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "proto/base/status_macros.h"
#include "proto/contract/job/job_state.h"
#include "proto/contract/job/names.h"
#include "server/metrics/metric_curve.h"
#include "server/store/rows/event_rows.h"
#include "server/store/rows/job_rows.h"

namespace trainerd::server {
namespace {

// Events of all types that one step reads at most.
constexpr int kMaxScanned = 16'384;

// So much is enough for one change.
constexpr size_t kChangeBytes = 256 << 10;

// What one step adds to a job.
struct Addition {
  int64_t job_number = 0;
  std::string job_id;
  // MetricState.seq that it continues.
  int64_t after = 0;
  MetricState state;
  std::vector<std::pair<MetricChunk, MetricBlobs>> chunks;
  bool more = false;

  size_t Bytes() const {
    size_t bytes = 0;
    for (const auto& [chunk, blobs] : chunks)
      bytes += blobs.coarse.size() + blobs.medium.size() + blobs.fine.size();
    return bytes;
  }
};

std::pair<MetricChunk, MetricBlobs> MakeChunk(const AttemptMetrics& attempt) {
  return {{.attempt = attempt.attempt,
           .first_step = attempt.first_step,
           .last_step = attempt.last_step,
           .first_trained = attempt.first_trained},
          {.coarse = EncodeMetrics(attempt.metrics, kCoarseWidth).SerializeAsString(),
           .medium = EncodeMetrics(attempt.metrics, kMediumWidth).SerializeAsString(),
           .fine = EncodeMetrics(attempt.metrics, kFineWidth).SerializeAsString()}};
}

// nullopt: there is nothing to add yet.
absl::StatusOr<std::optional<Addition>> Prepare(Connection& db, int64_t job_number) {
  ASSIGN_OR_RETURN(const std::optional<JobRecord> record, LoadJobByNumber(db, job_number));
  if (!record.has_value()) return std::nullopt;
  Addition addition{.job_number = job_number, .job_id = JobId(record->job.name())};
  ASSIGN_OR_RETURN(addition.state, LoadMetricState(db, job_number));
  addition.after = addition.state.seq;
  ASSIGN_OR_RETURN(const RecentMetrics recent,
                   ReadRecentMetrics(db, addition.job_id, addition.after, kChunkEvents));
  const bool complete = !recent.more && IsTerminal(record->job.state());
  const bool changes = complete ? !addition.state.complete || recent.events > 0
                                : recent.more || recent.events >= kChunkEvents;
  if (!changes) return std::nullopt;
  std::set<std::string> names(addition.state.names.begin(), addition.state.names.end());
  for (const AttemptMetrics& attempt : recent.attempts) {
    for (const auto& [name, data] : attempt.metrics) names.insert(name);
    addition.chunks.push_back(MakeChunk(attempt));
  }
  addition.state = {
      .seq = recent.through, .complete = complete, .names = {names.begin(), names.end()}};
  addition.more = recent.more;
  return addition;
}

// Stores nothing if the job was deleted meanwhile.
absl::Status StoreAddition(Connection& db, const Addition& addition) {
  ASSIGN_OR_RETURN(const std::optional<JobRecord> record, LoadJobByNumber(db, addition.job_number));
  if (!record.has_value() || JobId(record->job.name()) != addition.job_id) return absl::OkStatus();
  ASSIGN_OR_RETURN(const MetricState stored, LoadMetricState(db, addition.job_number));
  if (stored.seq != addition.after) return absl::OkStatus();
  for (const auto& [chunk, blobs] : addition.chunks)
    RETURN_IF_ERROR(InsertMetricChunk(db, addition.job_number, chunk, blobs));
  return StoreMetricState(db, addition.job_number, addition.state);
}

}  // namespace

absl::StatusOr<RecentMetrics> ReadRecentMetrics(Connection& db, const std::string& job_id,
                                                int64_t after, int max_events) {
  RecentMetrics recent;
  std::map<int32_t, AttemptMetrics> attempts;
  auto take = [&](std::string_view bytes) {
    if (recent.events == max_events) return false;
    v1::Event event;
    ++recent.events;
    // What this build cannot read it cannot show either.
    if (!event.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return true;
    AttemptMetrics& attempt = attempts[event.attempt()];
    AppendMetrics(event, &attempt.metrics);
    const bool first = attempt.first_trained == 0 || event.metrics().step() < attempt.first_trained;
    if (event.has_metrics() && first) attempt.first_trained = event.metrics().step();
    return true;
  };
  const EventScan scan{
      .job_id = job_id, .after = after, .types = kMetricEventTypes, .limit = kMaxScanned};
  ASSIGN_OR_RETURN(const int64_t rest, ScanEvents(db, scan, take));
  recent.more = rest != 0;
  recent.through = rest;
  if (!recent.more) {
    ASSIGN_OR_RETURN(recent.through, LastSeq(db));
  }
  for (auto& [number, attempt] : attempts) {
    if (attempt.metrics.empty()) continue;
    SortMetrics(&attempt.metrics);
    attempt.attempt = number;
    attempt.first_step = INT64_MAX;
    for (const auto& [name, data] : attempt.metrics) {
      attempt.first_step = std::min(attempt.first_step, data.steps.front());
      attempt.last_step = std::max(attempt.last_step, data.steps.back());
    }
    recent.attempts.push_back(std::move(attempt));
  }
  return recent;
}

absl::StatusOr<std::vector<int64_t>> CompactMetrics(Store& store,
                                                    const std::vector<int64_t>& job_numbers) {
  std::vector<Addition> additions;
  std::vector<int64_t> more;
  size_t bytes = 0;
  for (int64_t number : job_numbers) {
    if (bytes >= kChangeBytes) {
      more.push_back(number);
      continue;
    }
    ASSIGN_OR_RETURN(std::optional<Addition> addition,
                     store.Read([&](Connection& db) { return Prepare(db, number); }));
    if (!addition.has_value()) continue;
    if (addition->more) more.push_back(number);
    bytes += addition->Bytes();
    additions.push_back(*std::move(addition));
  }
  if (additions.empty()) return more;
  RETURN_IF_ERROR(store.Change([&](Transaction& t) -> absl::Status {
    for (const Addition& addition : additions) RETURN_IF_ERROR(StoreAddition(t.db(), addition));
    return absl::OkStatus();
  }));
  return more;
}

}  // namespace trainerd::server
