// SPDX-License-Identifier: Apache-2.0
#include "engine/monitor/throughput.h"

namespace trainerd::engine {
namespace {

constexpr double kNewest = 0.1;

}  // namespace

void Throughput::Add(int64_t tokens, double seconds) {
  if (!(seconds > 0)) return;
  ++steps_;
  if (steps_ <= 2) {
    tokens_ = static_cast<double>(tokens);
    seconds_ = seconds;
  } else {
    tokens_ += kNewest * (static_cast<double>(tokens) - tokens_);
    seconds_ += kNewest * (seconds - seconds_);
  }
  if (steps_ == kBaselineSteps) baseline_ = tokens_ / seconds_;
}

std::optional<double> Throughput::tokens_per_second() const {
  if (steps_ == 0) return std::nullopt;
  return tokens_ / seconds_;
}

std::optional<double> Throughput::EtaSeconds(int64_t steps_left) const {
  if (steps_ == 0) return std::nullopt;
  return seconds_ * static_cast<double>(steps_left > 0 ? steps_left : 0);
}

}  // namespace trainerd::engine
