// SPDX-License-Identifier: Apache-2.0
// Metrics as columns: from events, to and from the form in which they are stored. No database here.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "trainerd/internal/metric_store.pb.h"
#include "trainerd/v1/event.pb.h"

namespace trainerd::server {

// One metric of one attempt: entries by ascending step, each once.
struct MetricData {
  // Step and time (microseconds since 1970) of `last`.
  std::vector<int64_t> steps;
  std::vector<int64_t> times;
  std::vector<double> last;
  // Empty: each entry is one value.
  std::vector<double> min;
  std::vector<double> max;

  bool operator==(const MetricData&) const = default;
};
// By metric name, as the head of trainer.proto has them.
using MetricMap = std::map<std::string, MetricData, std::less<>>;

// Types of events with metrics: bit n = field n of Event.body.
inline constexpr uint64_t kMetricEventTypes =
    uint64_t{1} << v1::Event::kMetrics | uint64_t{1} << v1::Event::kEval;

// Appends the values of an event.
void AppendMetrics(const v1::Event& event, MetricMap* metrics);

// Sorts what was appended by step. Of several values of a step the newest remains.
void SortMetrics(MetricMap* metrics);

// The least and the greatest of two values. Finite values count before infinities, and these before
// NaN.
double LeastOf(double a, double b);
double GreatestOf(double a, double b);

// `metrics` in buckets of `width` steps.
internal::MetricColumns EncodeMetrics(const MetricMap& metrics, int width);

// Calls `visit` for each series whose name `is_requested`.
void DecodeMetrics(const internal::MetricColumns& columns,
                   const std::function<bool(const std::string&)>& is_requested,
                   const std::function<void(const std::string&, const MetricData&)>& visit);

}  // namespace trainerd::server
