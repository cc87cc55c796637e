// SPDX-License-Identifier: Apache-2.0
#include "server/metrics/metric_columns.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "absl/time/time.h"
#include "proto/base/time.h"
#include "proto/contract/job/metric_values.h"

namespace trainerd::server {
namespace {

// Integers up to here are exact as a double.
constexpr double kMaxInteger = 9007199254740992.0;

int64_t TimeOf(const v1::Event& event) { return absl::ToUnixMicros(FromProto(event.time())); }

template <typename Value>
std::vector<Value> Permuted(const std::vector<Value>& values, const std::vector<size_t>& order) {
  std::vector<Value> result;
  result.reserve(order.size());
  for (size_t i : order) result.push_back(values[i]);
  return result;
}

bool IsSorted(const std::vector<int64_t>& steps) {
  return std::adjacent_find(steps.begin(), steps.end(), std::greater_equal<>()) == steps.end();
}

void SortData(MetricData* data) {
  if (IsSorted(data->steps)) return;
  std::vector<size_t> order(data->steps.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return data->steps[a] < data->steps[b]; });
  std::vector<size_t> newest;
  for (size_t i = 0; i < order.size(); ++i) {
    const bool repeated =
        i + 1 < order.size() && data->steps[order[i]] == data->steps[order[i + 1]];
    if (!repeated) newest.push_back(order[i]);
  }
  data->steps = Permuted(data->steps, newest);
  data->times = Permuted(data->times, newest);
  data->last = Permuted(data->last, newest);
}

MetricData Reduced(const MetricData& data, int width) {
  MetricData reduced;
  bool several = false;
  for (size_t i = 0; i < data.steps.size(); ++i) {
    const double value = data.last[i];
    if (reduced.steps.empty() || reduced.steps.back() / width != data.steps[i] / width) {
      reduced.steps.push_back(data.steps[i]);
      reduced.times.push_back(data.times[i]);
      reduced.last.push_back(value);
      reduced.min.push_back(value);
      reduced.max.push_back(value);
      continue;
    }
    several = true;
    reduced.steps.back() = data.steps[i];
    reduced.times.back() = data.times[i];
    reduced.last.back() = value;
    reduced.min.back() = LeastOf(reduced.min.back(), value);
    reduced.max.back() = GreatestOf(reduced.max.back(), value);
  }
  if (!several) {
    reduced.min.clear();
    reduced.max.clear();
  }
  return reduced;
}

bool AreIntegers(const std::vector<double>& values) {
  return std::all_of(values.begin(), values.end(), [](double value) {
    return std::abs(value) < kMaxInteger && value == std::trunc(value) &&
           !(value == 0 && std::signbit(value));
  });
}

void AddDifferences(const std::vector<int64_t>& values,
                    google::protobuf::RepeatedField<int64_t>* out) {
  int64_t before = 0;
  out->Reserve(static_cast<int>(values.size()));
  for (int64_t value : values) {
    out->Add(value - before);
    before = value;
  }
}

std::vector<int64_t> Summed(const google::protobuf::RepeatedField<int64_t>& differences) {
  std::vector<int64_t> values(differences.size());
  std::partial_sum(differences.begin(), differences.end(), values.begin());
  return values;
}

void EncodeSeries(const std::string& name, const MetricData& data,
                  internal::MetricColumns::Series* series) {
  series->set_name(name);
  if (AreIntegers(data.last)) {
    std::vector<int64_t> integers;
    for (double value : data.last) integers.push_back(static_cast<int64_t>(value));
    AddDifferences(integers, series->mutable_differences());
  } else {
    series->mutable_values()->Assign(data.last.begin(), data.last.end());
  }
  series->mutable_min()->Assign(data.min.begin(), data.min.end());
  series->mutable_max()->Assign(data.max.begin(), data.max.end());
}

// 0: finite, 1: infinite, 2: NaN.
int Rank(double value) { return std::isnan(value) ? 2 : std::isinf(value) ? 1 : 0; }

}  // namespace

void AppendMetrics(const v1::Event& event, MetricMap* metrics) {
  const int64_t step = MetricStep(event), time = TimeOf(event);
  for (MetricValue& value : MetricValues(event)) {
    MetricData& data = (*metrics)[std::move(value.name)];
    data.steps.push_back(step);
    data.times.push_back(time);
    data.last.push_back(value.value);
  }
}

void SortMetrics(MetricMap* metrics) {
  for (auto& [name, data] : *metrics) SortData(&data);
}

double LeastOf(double a, double b) {
  if (Rank(a) != Rank(b)) return Rank(a) < Rank(b) ? a : b;
  return b < a ? b : a;
}

double GreatestOf(double a, double b) {
  if (Rank(a) != Rank(b)) return Rank(a) < Rank(b) ? a : b;
  return b > a ? b : a;
}

internal::MetricColumns EncodeMetrics(const MetricMap& metrics, int width) {
  using Places = std::pair<std::vector<int64_t>, std::vector<int64_t>>;
  internal::MetricColumns columns;
  columns.set_width(width);
  std::map<Places, int> groups;
  for (const auto& [name, exact] : metrics) {
    const MetricData data = width == 1 ? exact : Reduced(exact, width);
    const auto [it, added] = groups.try_emplace({data.steps, data.times}, columns.groups_size());
    if (added) {
      internal::MetricColumns::Group* group = columns.add_groups();
      AddDifferences(data.steps, group->mutable_steps());
      AddDifferences(data.times, group->mutable_times());
    }
    EncodeSeries(name, data, columns.mutable_groups(it->second)->add_series());
  }
  return columns;
}

void DecodeMetrics(const internal::MetricColumns& columns,
                   const std::function<bool(const std::string&)>& is_requested,
                   const std::function<void(const std::string&, const MetricData&)>& visit) {
  for (const internal::MetricColumns::Group& group : columns.groups()) {
    MetricData data;
    for (const internal::MetricColumns::Series& series : group.series()) {
      if (!is_requested(series.name())) continue;
      if (data.steps.empty()) {
        data.steps = Summed(group.steps());
        data.times = Summed(group.times());
      }
      data.last.assign(series.values().begin(), series.values().end());
      if (data.last.empty()) {
        for (int64_t value : Summed(series.differences()))
          data.last.push_back(static_cast<double>(value));
      }
      data.min.assign(series.min().begin(), series.min().end());
      data.max.assign(series.max().begin(), series.max().end());
      if (data.last.size() != data.steps.size() || data.times.size() != data.steps.size()) continue;
      visit(series.name(), data);
    }
  }
}

}  // namespace trainerd::server
