// SPDX-License-Identifier: Apache-2.0
#include "server/ledger/checkpoints/best.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "server/ledger/checkpoints/measurements.h"

namespace trainerd::server {

std::optional<double> BestValue(const v1::Checkpoint& checkpoint, const v1::BestConfig& config) {
  const v1::Measurement* measurement = FindMeasurement(checkpoint, config.metric());
  if (measurement == nullptr || !std::isfinite(measurement->value())) return std::nullopt;
  return measurement->value();
}

std::vector<std::string> RankByBest(const std::vector<CheckpointRow>& rows,
                                    const v1::BestConfig& config, const std::string& current) {
  const double sign = config.mode() == v1::BestConfig::MODE_MAX ? -1 : 1;
  // Ascending: value, whether it is another than `current`, order of publication, name.
  std::vector<std::tuple<double, bool, int64_t, std::string>> ranks;
  for (const CheckpointRow& row : rows) {
    const v1::Checkpoint& checkpoint = row.checkpoint;
    const std::optional<double> value = BestValue(checkpoint, config);
    if (!value.has_value() || !checkpoint.verified() || checkpoint.deleted()) continue;
    ranks.emplace_back(sign * *value, checkpoint.name() != current, row.number, checkpoint.name());
  }
  std::sort(ranks.begin(), ranks.end());
  std::vector<std::string> names;
  for (auto& rank : ranks) names.push_back(std::move(std::get<3>(rank)));
  return names;
}

}  // namespace trainerd::server
