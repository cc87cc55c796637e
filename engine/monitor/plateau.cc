// SPDX-License-Identifier: Apache-2.0
#include "engine/monitor/plateau.h"

#include <cmath>
#include <utility>

namespace trainerd::engine {
namespace {

constexpr size_t kHalf = PlateauRule::kWindow / 2;
constexpr int64_t kBlock = 500;
constexpr double kClear = 0.02, kClearByBlock = 0.05;  // shares of the mean before
// Standard errors that the quick rules leave for noise.
constexpr double kErrors = 4;

struct Moments {
  double mean = 0;
  double deviation = 0;  // of one loss
};

// Of `count` losses from `begin` on.
Moments MomentsOf(const std::deque<double>& losses, size_t begin, size_t count) {
  Moments moments;
  const double n = static_cast<double>(count);
  for (size_t i = begin; i < begin + count; ++i) moments.mean += losses[i] / n;
  double squares = 0;
  for (size_t i = begin; i < begin + count; ++i) {
    squares += (losses[i] - moments.mean) * (losses[i] - moments.mean);
  }
  moments.deviation = std::sqrt(squares / (n - 1));
  return moments;
}

}  // namespace

PlateauRule::Result PlateauRule::OnLoss(const std::deque<double>& newest, bool active, bool quick) {
  const std::optional<double> block = CompleteBlock(newest.back());
  if (block.has_value()) {
    const Result result = CheckBlock(*block, active);
    state_.block_before = block;
    // The state of an earlier version has an alert without a level.
    if (active && !state_.level.has_value()) state_.level = block;
    if (result.verdict != Verdict::kKeep) return result;
  }
  return newest.size() < kWindow ? Result{} : CheckWindow(newest, active, quick);
}

void PlateauRule::BeginAt(const std::deque<double>& newest) {
  // A block ends with this loss, so it has begun anew; its mean is the level of its noise.
  if (state_.block_count == 0 && state_.block_before.has_value()) {
    state_.level = state_.block_before;
    state_.deviation.reset();
    return;
  }
  const Moments moments = MomentsOf(newest, 0, newest.size());
  state_.level = moments.mean;
  state_.deviation = moments.deviation;
}

std::optional<double> PlateauRule::CompleteBlock(double loss) {
  state_.block_sum += loss;
  if (++state_.block_count < kBlock) return std::nullopt;
  const double mean = std::exchange(state_.block_sum, 0) / kBlock;
  state_.block_count = 0;
  return mean;
}

PlateauRule::Result PlateauRule::CheckBlock(double mean, bool active) {
  const std::optional<double> before = active ? state_.level : state_.block_before;
  if (!before.has_value() || !(*before > 0)) return {};
  Result result{.improvement = (*before - mean) / *before, .steps = 2 * kBlock};
  if (active && result.improvement >= kClearByBlock) result.verdict = Verdict::kClear;
  if (!active && result.improvement < kRaise && mean >= kNearZeroLoss) {
    result.verdict = Verdict::kRaise;
  }
  return result;
}

PlateauRule::Result PlateauRule::CheckWindow(const std::deque<double>& newest, bool active,
                                             bool quick) const {
  const Moments older = MomentsOf(newest, newest.size() - kWindow, kHalf);
  const Moments newer = MomentsOf(newest, newest.size() - kHalf, kHalf);
  if (!(older.mean > 0)) return {};
  Result result{.improvement = (older.mean - newer.mean) / older.mean, .steps = kWindow};
  const double n = static_cast<double>(kHalf);
  if (active) {
    // An alert that a block raised is cleared by a block: its noise is above what 25 steps show.
    if (!state_.level.has_value() || !state_.deviation.has_value()) return {};
    const double noise = kErrors * *state_.deviation / std::sqrt(n);
    if (newer.mean + noise <= *state_.level * (1 - kClear)) result.verdict = Verdict::kClear;
    return result;
  }
  // std::hypot needs glibc 2.35, which the portable package does not require.
  const double deviation =
      std::sqrt(older.deviation * older.deviation + newer.deviation * newer.deviation);
  const double noise = kErrors * deviation / std::sqrt(n);
  const bool flat = result.improvement + noise / older.mean < kRaise;
  if (quick && flat && newer.mean >= kNearZeroLoss) result.verdict = Verdict::kRaise;
  return result;
}

}  // namespace trainerd::engine
