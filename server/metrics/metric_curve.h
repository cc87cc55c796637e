// SPDX-License-Identifier: Apache-2.0
// Curves that are reduced to buckets of steps. No database here.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "server/metrics/metric_columns.h"
#include "trainerd/v1/trainer.pb.h"

namespace trainerd::server {

// Widths in which chunks are stored (store/rows/metric_rows.h).
inline constexpr int kFineWidth = 1;
inline constexpr int kMediumWidth = 16;
inline constexpr int kCoarseWidth = 256;

// The buckets of an answer: bucket n holds the steps from origin + n × width on.
struct BucketPlan {
  int64_t origin = 0;
  int64_t width = 1;
  int64_t count = 0;
  // Width of the stored columns that each bucket is made from.
  int stored_width = kFineWidth;
};
// At most `max_points` buckets for the steps from `first` to `last`. Their width is up to a quarter
// larger than necessary, so that stored columns can be used.
BucketPlan PlanBuckets(int64_t first, int64_t last, int64_t max_points);

class MetricCurve {
 public:
  explicit MetricCurve(const BucketPlan& plan) : plan_(plan), buckets_(plan.count) {}

  // Adds the entries whose step is in [first, last]. Call it in the order of attempts: of several
  // values of one step, the one added last counts.
  void Add(const MetricData& data, int64_t first, int64_t last);

  bool empty() const;
  v1::MetricSeries Series(const std::string& name) const;

 private:
  struct Bucket {
    bool used = false;
    int64_t step = 0;
    int64_t time = 0;
    double last = 0;
    double min = 0;
    double max = 0;
  };
  void AddEntry(const MetricData& data, size_t i);

  const BucketPlan plan_;
  std::vector<Bucket> buckets_;
  // A bucket holds several values.
  bool several_ = false;
};

}  // namespace trainerd::server
