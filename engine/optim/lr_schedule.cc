// SPDX-License-Identifier: Apache-2.0
#include "engine/optim/lr_schedule.h"

#include <algorithm>
#include <cmath>

#include "proto/base/enum_sentinels.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/enum_words.h"

#pragma GCC diagnostic error "-Wswitch"

namespace trainerd::engine {
namespace {

using Schedule = v1::ScheduleConfig;

// `factor` from 0 to 1, mapped to min_ratio to 1.
double AboveMinimum(double factor, const Schedule& schedule) {
  return std::max(0.0, factor * (1.0 - schedule.min_ratio()) + schedule.min_ratio());
}

// The falling half of a cosine from 1 to 0.
double HalfCosine(double progress) { return 0.5 * (1.0 + std::cos(M_PI * progress)); }

// 1 to 0 over the steps of the decay.
double DecayFactor(Schedule::DecayShape shape, double progress) {
  switch (shape) {
    case Schedule::DECAY_SHAPE_LINEAR:
      return 1.0 - progress;
    case Schedule::DECAY_SHAPE_COSINE:
      return HalfCosine(progress);
    case Schedule::DECAY_SHAPE_ONE_MINUS_SQRT:
      return 1.0 - std::sqrt(progress);
    case Schedule::DECAY_SHAPE_UNSPECIFIED:
    case kMinSentinel<Schedule::DecayShape>:
    case kMaxSentinel<Schedule::DecayShape>:
      break;
  }
  TRAINERD_CHECK(false);
}

double WarmUpFactor(const Schedule& schedule, int64_t index) {
  const double progress = static_cast<double>(index) /
                          static_cast<double>(std::max<int64_t>(1, schedule.warmup_steps()));
  const bool begins_at_minimum = schedule.type() == Schedule::TYPE_WARMUP_STABLE_DECAY;
  return begins_at_minimum ? AboveMinimum(progress, schedule) : progress;
}

double StableDecayFactor(const Schedule& schedule, int64_t index, int64_t total_steps) {
  const int64_t decay_begin = total_steps - schedule.decay_steps();
  if (index < decay_begin) return 1.0;
  if (index >= total_steps) return schedule.min_ratio();
  const double progress =
      static_cast<double>(index - decay_begin) / static_cast<double>(schedule.decay_steps());
  return AboveMinimum(DecayFactor(schedule.decay_shape(), progress), schedule);
}

double InverseSqrtFactor(const Schedule& schedule, int64_t index) {
  constexpr int64_t kTimescaleWithoutWarmUp = 10'000;
  const int64_t warmup = schedule.warmup_steps();
  const int64_t timescale = schedule.has_timescale() ? schedule.timescale()
                            : warmup > 0             ? warmup
                                                     : kTimescaleWithoutWarmUp;
  return 1.0 / std::sqrt(static_cast<double>(index + timescale - warmup) /
                         static_cast<double>(timescale));
}

}  // namespace

double LearningRate(const v1::ScheduleConfig& schedule, double peak, int64_t step,
                    int64_t total_steps) {
  const int64_t index = step - 1, warmup = schedule.warmup_steps();
  if (index < warmup) return peak * WarmUpFactor(schedule, index);
  const double decay_steps = static_cast<double>(std::max<int64_t>(1, total_steps - warmup));
  // In transformers the cosine rises again after total_steps.
  const double progress = std::min(1.0, static_cast<double>(index - warmup) / decay_steps);
  switch (schedule.type()) {
    case Schedule::TYPE_CONSTANT:
      return peak;
    case Schedule::TYPE_LINEAR:
      return peak * std::max(0.0, static_cast<double>(total_steps - index) / decay_steps);
    case Schedule::TYPE_COSINE:
      return peak * AboveMinimum(HalfCosine(progress), schedule);
    case Schedule::TYPE_WARMUP_STABLE_DECAY:
      return peak * StableDecayFactor(schedule, index, total_steps);
    case Schedule::TYPE_POLYNOMIAL:
      return peak * AboveMinimum(std::pow(1.0 - progress, schedule.power()), schedule);
    case Schedule::TYPE_INVERSE_SQRT:
      return peak * InverseSqrtFactor(schedule, index);
    case Schedule::TYPE_UNSPECIFIED:
    case kMinSentinel<Schedule::Type>:
    case kMaxSentinel<Schedule::Type>:
      break;
  }
  TRAINERD_CHECK(false);
}

std::vector<std::string> LearningRateGroups(const v1::OptimizerConfig& optimizer) {
  std::vector<std::string> groups = {EnumText(optimizer.type())};
  if (optimizer.type() == v1::OptimizerConfig::TYPE_MUON)
    groups.push_back(EnumText(v1::OptimizerConfig::TYPE_ADAMW));
  return groups;
}

std::vector<double> LearningRatePeaks(const v1::OptimizerConfig& optimizer) {
  std::vector<double> peaks = {optimizer.learning_rate()};
  if (optimizer.type() == v1::OptimizerConfig::TYPE_MUON)
    peaks.push_back(optimizer.adamw().learning_rate());
  return peaks;
}

std::vector<double> LearningRates(const v1::JobConfig& config, int64_t step, int64_t total_steps) {
  std::vector<double> rates;
  for (const double peak : LearningRatePeaks(config.optimizer()))
    rates.push_back(LearningRate(config.schedule(), peak, step, total_steps));
  return rates;
}

}  // namespace trainerd::engine
