// SPDX-License-Identifier: Apache-2.0
#include "server/commands/queries/metric_query.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "proto/base/status_macros.h"
#include "proto/base/time.h"
#include "proto/contract/job/names.h"
#include "server/commands/request.h"
#include "server/events/cursor.h"
#include "server/metrics/compaction.h"
#include "server/metrics/metric_curve.h"
#include "server/store/errors.h"
#include "server/store/rows/evaluation_rows.h"
#include "server/store/rows/event_rows.h"
#include "server/store/rows/job_rows.h"
#include "server/store/rows/metric_rows.h"
#include "server/store/rows/run_rows.h"

namespace trainerd::server {
namespace {

constexpr int kDefaultPoints = 1000;
constexpr int kMaxPoints = 10'000;
constexpr int kMaxMetrics = 32;
constexpr int64_t kMaxValues = 64'000;
constexpr const char* kDefaultMetrics[] = {"loss", "learning_rate", "grad_norm",
                                           "tokens_per_second"};

// What the database has of a job.
struct Source {
  MetricState state;
  std::vector<MetricChunk> chunks;
  // In the order of attempts.
  std::vector<AttemptMetrics> recent;
};

// A part of a source that is read as a whole: a chunk, or what is not in chunks.
struct Part {
  int32_t attempt = 0;
  int64_t first_step = 0;
  int64_t last_step = 0;
  int64_t first_trained = 0;
  // Either.
  int64_t chunk_number = 0;
  const AttemptMetrics* recent = nullptr;
  // Of the steps that are requested from it.
  int64_t from = 0;
  int64_t to = 0;
};

absl::Status CheckNumbers(const v1::QueryMetricsRequest& request) {
  if (request.metrics_size() > kMaxMetrics) {
    return BadField("metrics", absl::StrCat("has ", request.metrics_size(),
                                            " entries; the limit is ", kMaxMetrics));
  }
  if (request.max_points() < 0 || request.max_points() > kMaxPoints) {
    return BadField("max_points", absl::StrCat(request.max_points(), " is not in 0..", kMaxPoints));
  }
  if (request.min_step() < 0)
    return BadField("min_step", absl::StrCat(request.min_step(), " is below 0"));
  if (request.max_step() < 0 ||
      (request.max_step() != 0 && request.max_step() < request.min_step())) {
    return BadField("max_step", absl::StrCat(request.max_step(), " is below ",
                                             request.max_step() < 0 ? "0" : "min_step"));
  }
  if (request.attempt() < 0)
    return BadField("attempt", absl::StrCat(request.attempt(), " is below 0"));
  return absl::OkStatus();
}

// What evaluators reported of the models on the lineage: metrics of the job, not of an attempt.
absl::StatusOr<AttemptMetrics> ReadRemoteMetrics(Connection& db, const std::string& id) {
  std::vector<EvaluationRecord> reported;
  RETURN_IF_ERROR(ForEachEvaluation(db, {.job_id = id, .states = {v1::Evaluation::COMPLETED}},
                                    [&](EvaluationRecord record) {
                                      reported.push_back(std::move(record));
                                      return true;
                                    }));
  AttemptMetrics metrics{.first_step = INT64_MAX};
  // The oldest first: of several results of a step the newest counts.
  for (auto record = reported.rbegin(); record != reported.rend(); ++record) {
    const v1::Evaluation& evaluation = record->evaluation;
    const std::string checkpoint_id = CheckpointId(evaluation.model());
    if (!checkpoint_id.empty() && JobId(evaluation.model()) == id) {
      ASSIGN_OR_RETURN(const std::optional<CheckpointRow> row,
                       FindCheckpoint(db, id, checkpoint_id));
      if (row.has_value() && row->checkpoint.superseded()) continue;
    }
    for (const v1::Measurement& measured : evaluation.metrics()) {
      MetricData& data =
          metrics.metrics[absl::StrCat("remote.", record->entry, ".", measured.name())];
      data.steps.push_back(evaluation.step());
      data.times.push_back(absl::ToUnixMicros(FromProto(evaluation.end_time())));
      data.last.push_back(measured.value());
    }
    metrics.first_step = std::min(metrics.first_step, evaluation.step());
    metrics.last_step = std::max(metrics.last_step, evaluation.step());
  }
  SortMetrics(&metrics.metrics);
  return metrics;
}

absl::StatusOr<Source> ReadSource(Connection& db, const std::string& id, int64_t job_number) {
  Source source;
  ASSIGN_OR_RETURN(source.state, LoadMetricState(db, job_number));
  ASSIGN_OR_RETURN(source.chunks, ListMetricChunks(db, job_number));
  int64_t after = source.state.seq;
  bool more = true;
  while (more) {
    ASSIGN_OR_RETURN(RecentMetrics recent, ReadRecentMetrics(db, id, after, INT32_MAX));
    for (AttemptMetrics& attempt : recent.attempts) source.recent.push_back(std::move(attempt));
    after = recent.through;
    more = recent.more;
  }
  ASSIGN_OR_RETURN(AttemptMetrics remote, ReadRemoteMetrics(db, id));
  if (!remote.metrics.empty()) source.recent.push_back(std::move(remote));
  std::stable_sort(
      source.recent.begin(), source.recent.end(),
      [](const AttemptMetrics& a, const AttemptMetrics& b) { return a.attempt < b.attempt; });
  return source;
}

std::vector<Part> PartsOf(const Source& source) {
  std::vector<Part> parts;
  for (const MetricChunk& chunk : source.chunks) {
    parts.push_back({.attempt = chunk.attempt,
                     .first_step = chunk.first_step,
                     .last_step = chunk.last_step,
                     .first_trained = chunk.first_trained,
                     .chunk_number = chunk.number});
  }
  for (const AttemptMetrics& recent : source.recent) {
    parts.push_back({.attempt = recent.attempt,
                     .first_step = recent.first_step,
                     .last_step = recent.last_step,
                     .first_trained = recent.first_trained,
                     .recent = &recent});
  }
  return parts;
}

// Keeps the parts that have requested steps. A later attempt replaces the steps of earlier ones
// from its first step on.
std::vector<Part> Requested(std::vector<Part> parts, const v1::QueryMetricsRequest& request) {
  std::map<int32_t, int64_t> starts;
  for (const Part& part : parts) {
    if (part.first_trained == 0) continue;
    const auto [it, added] = starts.try_emplace(part.attempt, part.first_trained);
    it->second = std::min(it->second, part.first_trained);
  }
  for (Part& part : parts) {
    part.from = std::max(part.first_step, request.min_step());
    part.to = part.last_step;
    if (request.max_step() != 0) part.to = std::min(part.to, request.max_step());
    if (request.attempt() != 0) {
      if (part.attempt != request.attempt()) part.to = -1;
      continue;
    }
    // Metrics of attempt 0 belong to the job.
    if (part.attempt == 0) continue;
    for (auto it = starts.upper_bound(part.attempt); it != starts.end(); ++it)
      part.to = std::min(part.to, it->second - 1);
  }
  std::erase_if(parts, [](const Part& part) { return part.from > part.to; });
  return parts;
}

MetricBlob BlobOf(int width) {
  if (width == kCoarseWidth) return MetricBlob::kCoarse;
  return width == kMediumWidth ? MetricBlob::kMedium : MetricBlob::kFine;
}

using Curves = std::map<std::string, MetricCurve, std::less<>>;

absl::Status AddPart(Connection& db, const Part& part, int stored_width, Curves* curves) {
  auto add = [&](const std::string& name, const MetricData& data) {
    const auto curve = curves->find(name);
    if (curve != curves->end()) curve->second.Add(data, part.from, part.to);
  };
  if (part.recent != nullptr) {
    for (const auto& [name, data] : part.recent->metrics) add(name, data);
    return absl::OkStatus();
  }
  // Wider columns do not show which values are in the requested part.
  const bool whole = part.from <= part.first_step && part.to >= part.last_step;
  ASSIGN_OR_RETURN(
      const std::string blob,
      LoadMetricBlob(db, part.chunk_number, BlobOf(whole ? stored_width : kFineWidth)));
  internal::MetricColumns columns;
  if (!columns.ParseFromString(blob))
    return absl::DataLossError(
        absl::StrCat("row ", part.chunk_number, " of metric_chunks does not parse"));
  DecodeMetrics(
      columns, [&](const std::string& name) { return curves->count(name) > 0; }, add);
  return absl::OkStatus();
}

std::vector<std::string> RequestedNames(const v1::QueryMetricsRequest& request,
                                        const std::set<std::string>& available) {
  std::vector<std::string> names;
  auto add = [&](const std::string& name) {
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  };
  for (const std::string& name : request.metrics()) add(name);
  if (!names.empty()) return names;
  for (const char* name : kDefaultMetrics) add(name);
  for (const std::string& name : available) {
    if (absl::StartsWith(name, "eval.") && absl::EndsWith(name, ".loss")) add(name);
  }
  return names;
}

absl::Status CheckValues(int64_t metrics, int64_t points) {
  if (metrics * points <= kMaxValues) return absl::OkStatus();
  return BadField("max_points",
                  absl::StrCat(metrics, " metrics with ", points, " points are more than ",
                               kMaxValues, " values; request fewer of either"));
}

absl::Status FillSeries(Connection& db, const std::vector<Part>& parts, int64_t max_points,
                        const std::vector<std::string>& names, v1::QueryMetricsResponse* response) {
  int64_t first = INT64_MAX, last = 0;
  for (const Part& part : parts) {
    first = std::min(first, part.from);
    last = std::max(last, part.to);
  }
  const BucketPlan plan = PlanBuckets(first, last, max_points);
  response->set_bucket_steps(plan.width);
  Curves curves;
  for (const std::string& name : names) curves.try_emplace(name, plan);
  for (const Part& part : parts) RETURN_IF_ERROR(AddPart(db, part, plan.stored_width, &curves));
  for (const std::string& name : names) {
    const MetricCurve& curve = curves.find(name)->second;
    if (!curve.empty()) *response->add_series() = curve.Series(name);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<v1::QueryMetricsResponse> QueryMetrics(Store& store,
                                                      const v1::QueryMetricsRequest& request) {
  RETURN_IF_ERROR(CheckRequest(request));
  ASSIGN_OR_RETURN(const std::string id, RequestedJob("name", request.name()));
  RETURN_IF_ERROR(CheckNumbers(request));
  const int64_t points = request.max_points() == 0 ? kDefaultPoints : request.max_points();
  RETURN_IF_ERROR(CheckValues(request.metrics_size(), points));
  return store.Read([&](Connection& db) -> absl::StatusOr<v1::QueryMetricsResponse> {
    v1::QueryMetricsResponse response;
    ASSIGN_OR_RETURN(const JobRecord record, LoadJob(db, id));
    if (request.attempt() != 0) RETURN_IF_ERROR(LoadAttempt(db, id, request.attempt()).status());
    ASSIGN_OR_RETURN(const int64_t last_seq, LastSeq(db));
    response.set_cursor(FormatCursor(store.database_id(), last_seq));
    response.set_bucket_steps(1);
    ASSIGN_OR_RETURN(const Source source, ReadSource(db, id, record.number));
    std::set<std::string> available(source.state.names.begin(), source.state.names.end());
    for (const AttemptMetrics& recent : source.recent) {
      for (const auto& [name, data] : recent.metrics) available.insert(name);
    }
    for (const std::string& name : available) response.add_available(name);
    const std::vector<std::string> names = RequestedNames(request, available);
    RETURN_IF_ERROR(CheckValues(static_cast<int64_t>(names.size()), points));
    const std::vector<Part> parts = Requested(PartsOf(source), request);
    if (!parts.empty()) RETURN_IF_ERROR(FillSeries(db, parts, points, names, &response));
    return response;
  });
}

}  // namespace trainerd::server
