// SPDX-License-Identifier: Apache-2.0
#include "server/ledger/checkpoints/measurements.h"

#include <algorithm>

#include "proto/contract/job/metric_values.h"

namespace trainerd::server {
namespace {

constexpr int kMaxMeasurements = 512;

}  // namespace

std::vector<v1::Measurement> MeasurementsOf(const v1::Event& event) {
  std::vector<v1::Measurement> measurements;
  for (const MetricValue& metric : MetricValues(event)) {
    v1::Measurement& measurement = measurements.emplace_back();
    measurement.set_name(metric.name);
    measurement.set_value(metric.value);
    measurement.set_lower_is_better(IsLoss(metric.name));
  }
  return measurements;
}

void MergeMeasurements(const std::vector<v1::Measurement>& newer, v1::Checkpoint* checkpoint) {
  auto* all = checkpoint->mutable_metrics();
  for (const v1::Measurement& measurement : newer) {
    const auto older = std::find_if(all->begin(), all->end(), [&](const v1::Measurement& other) {
      return other.name() == measurement.name();
    });
    if (older != all->end()) {
      *older = measurement;
    } else if (all->size() < kMaxMeasurements) {
      *all->Add() = measurement;
    }
  }
}

const v1::Measurement* FindMeasurement(const v1::Checkpoint& checkpoint, std::string_view name) {
  for (const v1::Measurement& measurement : checkpoint.metrics()) {
    if (measurement.name() == name) return &measurement;
  }
  return nullptr;
}

}  // namespace trainerd::server
