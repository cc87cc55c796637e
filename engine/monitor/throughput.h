// SPDX-License-Identifier: Apache-2.0
// Tokens per second and time to go, from counted tokens and measured steps.
#pragma once

#include <cstdint>
#include <optional>

namespace trainerd::engine {

// Averages are exponential with weight 0.1 for the newest step. tokens_per_second is the average
// of tokens over the average of seconds, so that short steps do not weigh more than their time.
// The attempt's first step (buffers are allocated, caches are cold) is shown but forgotten.
// Thread-safety: one owner at a time.
class Throughput {
 public:
  // Steps of this attempt after which the baseline is taken.
  static constexpr int kBaselineSteps = 20;

  // A step of no duration is not counted.
  void Add(int64_t tokens, double seconds);

  // Absent before the first step.
  std::optional<double> tokens_per_second() const;
  // tokens_per_second at the end of this attempt's step kBaselineSteps; absent before.
  std::optional<double> baseline() const { return baseline_; }
  std::optional<double> EtaSeconds(int64_t steps_left) const;

 private:
  int64_t steps_ = 0;
  double tokens_ = 0;
  double seconds_ = 0;
  std::optional<double> baseline_;
};

}  // namespace trainerd::engine
