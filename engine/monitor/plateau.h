// SPDX-License-Identifier: Apache-2.0
// Whether the loss has stopped falling. A quick rule over the last 50 steps finds the first plateau
// of a job whose loss has little noise. After that, and for noisy losses, means over blocks of 500
// steps decide. Numbers: README.md of this folder. Pure.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>

#include "engine/monitor/step_measurement.h"

namespace trainerd::engine {

// The rule of one step: raise, clear, or no change.
enum class Verdict { kRaise, kClear, kKeep };

// Thread-safety: one owner at a time.
class PlateauRule {
 public:
  // Losses that the quick rule reads.
  static constexpr size_t kWindow = 50;
  // It raises the alert when the mean fell by less than this share.
  static constexpr double kRaise = 0.01;

  explicit PlateauRule(PlateauState state) : state_(state) {}

  struct Result {
    Verdict verdict = Verdict::kKeep;
    // By how much the mean fell, as a share of the mean before; over `steps` steps.
    double improvement = 0;
    int64_t steps = 0;
  };
  // Call with each finite loss. `newest` holds it and the ones before, at most kWindow, oldest
  // first. `active`: the alert is raised. `quick`: the quick rule may raise it.
  Result OnLoss(const std::deque<double>& newest, bool active, bool quick);
  // The caller has followed a verdict to raise the alert; the clearing rules compare with now.
  void BeginAt(const std::deque<double>& newest);

  const PlateauState& state() const { return state_; }

 private:
  // Adds a loss to the block. The mean of the block if it is complete.
  std::optional<double> CompleteBlock(double loss);
  Result CheckBlock(double mean, bool active);
  Result CheckWindow(const std::deque<double>& newest, bool active, bool quick) const;

  PlateauState state_;
};

}  // namespace trainerd::engine
