// SPDX-License-Identifier: Apache-2.0
#include "server/metrics/metric_curve.h"

#include <algorithm>

namespace trainerd::server {
namespace {

constexpr double kMicrosPerSecond = 1e6;

int64_t RoundUp(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

BucketPlan PlanWith(int64_t first, int64_t last, int64_t width, int stored_width) {
  const int64_t origin = first / stored_width * stored_width;
  return {.origin = origin,
          .width = width,
          .count = (last - origin) / width + 1,
          .stored_width = stored_width};
}

}  // namespace

BucketPlan PlanBuckets(int64_t first, int64_t last, int64_t max_points) {
  const int64_t needed = std::max<int64_t>(1, RoundUp(last - first + 1, max_points) / max_points);
  for (int stored : {kCoarseWidth, kMediumWidth}) {
    BucketPlan plan = PlanWith(first, last, RoundUp(needed, stored), stored);
    if (plan.count > max_points) plan = PlanWith(first, last, plan.width + stored, stored);
    if (plan.width * 4 <= needed * 5) return plan;
  }
  return PlanWith(first, last, needed, kFineWidth);
}

void MetricCurve::Add(const MetricData& data, int64_t first, int64_t last) {
  several_ |= !data.min.empty();
  const auto begin = std::lower_bound(data.steps.begin(), data.steps.end(), first);
  for (size_t i = begin - data.steps.begin(); i < data.steps.size() && data.steps[i] <= last; ++i)
    AddEntry(data, i);
}

void MetricCurve::AddEntry(const MetricData& data, size_t i) {
  const int64_t index = (data.steps[i] - plan_.origin) / plan_.width;
  if (data.steps[i] < plan_.origin || index >= plan_.count) return;
  Bucket& bucket = buckets_[index];
  const double min = data.min.empty() ? data.last[i] : data.min[i];
  const double max = data.max.empty() ? data.last[i] : data.max[i];
  // Another attempt repeated the step.
  const bool replaces = bucket.used && plan_.width == 1;
  if (!bucket.used || replaces) {
    bucket = {true, data.steps[i], data.times[i], data.last[i], min, max};
    return;
  }
  several_ = true;
  if (data.steps[i] >= bucket.step) {
    bucket.step = data.steps[i];
    bucket.time = data.times[i];
    bucket.last = data.last[i];
  }
  bucket.min = LeastOf(bucket.min, min);
  bucket.max = GreatestOf(bucket.max, max);
}

bool MetricCurve::empty() const {
  return std::none_of(buckets_.begin(), buckets_.end(), [](const Bucket& b) { return b.used; });
}

v1::MetricSeries MetricCurve::Series(const std::string& name) const {
  v1::MetricSeries series;
  series.set_metric(name);
  for (const Bucket& bucket : buckets_) {
    if (!bucket.used) continue;
    series.add_steps(bucket.step);
    series.add_times(static_cast<double>(bucket.time) / kMicrosPerSecond);
    series.add_last(bucket.last);
    if (!several_) continue;
    series.add_min(bucket.min);
    series.add_max(bucket.max);
  }
  return series;
}

}  // namespace trainerd::server
