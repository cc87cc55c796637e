// SPDX-License-Identifier: Apache-2.0
#include "engine/monitor/alerts.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace trainerd::engine {
namespace {

// Numbers of README.md; sources: the replaced system's SmartAlerts and LiveMonitor definitions.
constexpr size_t kRecent = 10;
// An alert is raised at the earliest this many steps after it was cleared.
constexpr int64_t kQuietSteps = 500;
constexpr double kSpikeFactor = 2.0, kSpikeClearFactor = 1.5;
// Least rise above the mean, nats.
constexpr double kSpikeRise = kNearZeroLoss, kSpikeClearRise = kNearZeroLoss / 2;
constexpr double kExplodingNorm = 100, kExplodingClearNorm = 50;
constexpr double kVanishingNorm = 1e-7, kVanishingClearNorm = 1e-6;
constexpr double kHighRate = 1e-2;
constexpr double kLowRate = 1e-6;
constexpr int64_t kLowRateAfterStep = 1000;
constexpr double kSlow = 0.6, kSlowClear = 0.75;
constexpr double kGap = 0.3, kGapClear = 0.2;
constexpr double kGapRise = 0.05;                          // nats above the best
constexpr double kDiverged = 1.0, kDivergedClear = 0.5;    // nats above the start
constexpr double kFirstFactor = 3, kFirstClearFactor = 2;  // of (first loss + 1 nat)

}  // namespace

AlertRules::AlertRules(MonitorState state, int64_t last_step)
    : losses_(state.losses.begin(), state.losses.end()),
      active_(state.active_alerts.begin(), state.active_alerts.end()),
      spike_reference_(state.spike_reference),
      start_losses_(std::move(state.start_losses)),
      best_validation_(state.best_validation),
      plateau_(state.plateau),
      cleared_steps_(std::move(state.cleared_steps)),
      last_step_(last_step) {
  // Speed belongs to the attempt: a new one measures it anew.
  active_.erase("throughput_drop");
  if (spike_reference_.has_value() != IsActive("loss_spike")) {
    spike_reference_.reset();
    active_.erase("loss_spike");
  }
}

MonitorState AlertRules::state() const {
  return {.losses = {losses_.begin(), losses_.end()},
          .active_alerts = {active_.begin(), active_.end()},
          .spike_reference = spike_reference_,
          .start_losses = start_losses_,
          .best_validation = best_validation_,
          .plateau = plateau_.state(),
          .cleared_steps = cleared_steps_};
}

double AlertRules::MeanOfNewest(size_t count) const {
  count = std::min(count, losses_.size());
  return std::accumulate(losses_.end() - static_cast<std::ptrdiff_t>(count), losses_.end(), 0.0) /
         static_cast<double>(count);
}

double AlertRules::MeanAtStart() const {
  return std::accumulate(start_losses_.begin(), start_losses_.end(), 0.0) /
         static_cast<double>(start_losses_.size());
}

double AlertRules::DivergenceLevel(double above, double first_factor) const {
  const double explosion = first_factor * (start_losses_.front() + 1);
  // Before, the newest losses and those of the start overlap.
  if (losses_.size() < 2 * kRecent) return explosion;
  return std::min(explosion, MeanAtStart() + above);
}

bool AlertRules::IsAboveStart(double loss) const {
  if (start_losses_.empty()) return false;
  return loss >
         (losses_.size() < 2 * kRecent ? start_losses_.front() : DivergenceLevel(0, kFirstFactor));
}

bool AlertRules::IsTooSoon(const Finding& finding) const {
  const auto cleared = cleared_steps_.find(finding.type);
  if (cleared == cleared_steps_.end()) return false;
  if (finding.severity == v1::Alert::CRITICAL && finding.step == last_step_) return false;
  return finding.step < cleared->second + kQuietSteps;
}

void AlertRules::Report(Verdict verdict, const Finding& finding, std::vector<v1::Alert>* alerts) {
  if (verdict == Verdict::kKeep) return;
  const bool raise = verdict == Verdict::kRaise;
  if (raise == IsActive(finding.type)) return;
  if (raise) {
    if (IsTooSoon(finding)) return;
    active_.insert(finding.type);
  } else {
    active_.erase(finding.type);
    cleared_steps_[finding.type] = finding.step;
  }
  v1::Alert& alert = alerts->emplace_back();
  alert.set_type(finding.type);
  alert.set_active(raise);
  alert.set_severity(finding.severity);
  alert.set_step(finding.step);
  alert.set_value(finding.value);
  alert.set_threshold(finding.threshold);
  alert.set_message(raise ? finding.message : absl::StrFormat("%s is over", finding.type));
}

std::vector<v1::Alert> AlertRules::OnStep(const StepMeasurement& measured, const Speed& speed) {
  std::vector<v1::Alert> alerts;
  CheckFinite(measured, &alerts);
  if (measured.loss && std::isfinite(*measured.loss)) {
    CheckLossSpike(measured.step, *measured.loss, &alerts);
    // Unequal sizes: the job began before, and its checkpoint does not hold its start.
    if (start_losses_.size() == losses_.size() && start_losses_.size() < kRecent)
      start_losses_.push_back(*measured.loss);
    losses_.push_back(*measured.loss);
    if (losses_.size() > PlateauRule::kWindow) losses_.pop_front();
    CheckDivergence(measured.step, &alerts);
    CheckPlateau(measured.step, &alerts);
  }
  if (measured.grad_norm && std::isfinite(*measured.grad_norm)) {
    CheckGradient(measured.step, *measured.grad_norm, &alerts);
    CheckVanishing(measured, &alerts);
  }
  if (measured.learning_rate) CheckLearningRate(measured.step, *measured.learning_rate, &alerts);
  CheckThroughput(measured.step, speed, &alerts);
  return alerts;
}

void AlertRules::CheckFinite(const StepMeasurement& measured, std::vector<v1::Alert>* alerts) {
  const bool bad_loss = measured.loss && !std::isfinite(*measured.loss);
  const bool bad_norm = measured.grad_norm && !std::isfinite(*measured.grad_norm);
  if (!measured.loss && !measured.grad_norm) return;
  const double value = bad_norm && !bad_loss
                           ? *measured.grad_norm
                           : measured.loss.value_or(measured.grad_norm.value_or(0));
  Report(bad_loss || bad_norm ? Verdict::kRaise : Verdict::kClear,
         {"non_finite", v1::Alert::CRITICAL, measured.step, value, 0,
          absl::StrFormat("the %s of step %d is not finite: the step is not applied; inspect the "
                          "rows of its batch, lower learning_rate or try precision fp32",
                          bad_loss ? "loss" : "gradient norm", measured.step)},
         alerts);
}

void AlertRules::CheckLossSpike(int64_t step, double loss, std::vector<v1::Alert>* alerts) {
  if (!spike_reference_ && losses_.size() < kRecent) return;
  const double mean = spike_reference_ ? *spike_reference_ : MeanOfNewest(kRecent);
  const double threshold = std::max(kSpikeFactor * mean, mean + kSpikeRise);
  Verdict verdict = Verdict::kKeep;
  if (loss > threshold) verdict = Verdict::kRaise;
  if (loss < std::max(kSpikeClearFactor * mean, mean + kSpikeClearRise)) {
    verdict = Verdict::kClear;
  }
  Report(verdict,
         {"loss_spike", v1::Alert::WARNING, step, loss, threshold,
          absl::StrFormat("loss %.4g is more than twice the mean of the last %d steps, %.4g; if it "
                          "stays, lower learning_rate, lengthen the warm-up or check the data",
                          loss, kRecent, mean)},
         alerts);
  if (!IsActive("loss_spike")) {
    spike_reference_.reset();
  } else if (!spike_reference_) {
    spike_reference_ = mean;
  }
}

void AlertRules::CheckDivergence(int64_t step, std::vector<v1::Alert>* alerts) {
  if (start_losses_.empty()) return;
  const double newest = MeanOfNewest(kRecent);
  const double level = DivergenceLevel(kDiverged, kFirstFactor);
  Verdict verdict = Verdict::kKeep;
  if (newest > level) verdict = Verdict::kRaise;
  if (newest < DivergenceLevel(kDivergedClear, kFirstClearFactor)) verdict = Verdict::kClear;
  Report(
      verdict,
      {"diverged", v1::Alert::CRITICAL, step, newest, level,
       absl::StrFormat("the mean loss of the last %d steps is %.4g and was %.4g at the start, so "
                       "the job probably diverged; lower optimizer.learning_rate or raise "
                       "schedule.warmup_steps, and start again. With data.shuffle: false, harder "
                       "records later in the files look the same",
                       std::min(kRecent, losses_.size()), newest,
                       std::min(start_losses_.front(), MeanAtStart()))},
      alerts);
}

void AlertRules::CheckPlateau(int64_t step, std::vector<v1::Alert>* alerts) {
  const bool active = IsActive("plateau");
  // The quick rule finds the first plateau only; in a slow descent it would find many.
  const bool first = cleared_steps_.count("plateau") == 0;
  const PlateauRule::Result found = plateau_.OnLoss(losses_, active, /*quick=*/first);
  Report(found.verdict,
         {"plateau", v1::Alert::INFO, step, found.improvement, PlateauRule::kRaise,
          absl::StrFormat("over the last %d steps the loss fell by %.2f %%: another learning rate "
                          "or more data may help, or the run is done",
                          found.steps, 100 * found.improvement)},
         alerts);
  if (!active && IsActive("plateau")) plateau_.BeginAt(losses_);
}

void AlertRules::CheckGradient(int64_t step, double grad_norm, std::vector<v1::Alert>* alerts) {
  Verdict exploding = Verdict::kKeep;
  if (grad_norm > kExplodingNorm) exploding = Verdict::kRaise;
  if (grad_norm < kExplodingClearNorm) exploding = Verdict::kClear;
  Report(exploding,
         {"exploding_gradient", v1::Alert::CRITICAL, step, grad_norm, kExplodingNorm,
          absl::StrFormat("gradient norm %.4g is above %g: lower learning_rate, keep "
                          "train.max_grad_norm at 1 and inspect the conversations of this step",
                          grad_norm, kExplodingNorm)},
         alerts);
}

void AlertRules::CheckVanishing(const StepMeasurement& measured, std::vector<v1::Alert>* alerts) {
  const double grad_norm = *measured.grad_norm;
  // Where nothing is left to learn, gradients vanish.
  const bool solved = measured.loss.has_value() && !(*measured.loss >= kNearZeroLoss);
  Verdict verdict = Verdict::kKeep;
  if (grad_norm < kVanishingNorm && !solved) verdict = Verdict::kRaise;
  if (grad_norm > kVanishingClearNorm) verdict = Verdict::kClear;
  Report(verdict,
         {"vanishing_gradient", v1::Alert::WARNING, measured.step, grad_norm, kVanishingNorm,
          absl::StrFormat("gradient norm %.3g is below %g: nothing is learned any more", grad_norm,
                          kVanishingNorm)},
         alerts);
}

void AlertRules::CheckLearningRate(int64_t step, double learning_rate,
                                   std::vector<v1::Alert>* alerts) {
  Report(learning_rate > kHighRate ? Verdict::kRaise : Verdict::kClear,
         {"learning_rate_high", v1::Alert::WARNING, step, learning_rate, kHighRate,
          absl::StrFormat("learning rate %.3g is above %g, which seldom goes well with fine-tuning",
                          learning_rate, kHighRate)},
         alerts);
  if (step <= kLowRateAfterStep) return;
  Report(learning_rate < kLowRate ? Verdict::kRaise : Verdict::kClear,
         {"learning_rate_low", v1::Alert::INFO, step, learning_rate, kLowRate,
          absl::StrFormat("learning rate %.3g is below %g: further steps change little",
                          learning_rate, kLowRate)},
         alerts);
}

void AlertRules::CheckThroughput(int64_t step, const Speed& speed, std::vector<v1::Alert>* alerts) {
  if (!speed.baseline || !speed.tokens_per_second || !(*speed.baseline > 0)) return;
  const double share = *speed.tokens_per_second / *speed.baseline;
  Verdict verdict = Verdict::kKeep;
  if (share < kSlow) verdict = Verdict::kRaise;
  if (share >= kSlowClear) verdict = Verdict::kClear;
  Report(verdict,
         {"throughput_drop", v1::Alert::WARNING, step, *speed.tokens_per_second,
          kSlow * *speed.baseline,
          absl::StrFormat("%.0f tokens/s is %.0f %% of this attempt's baseline of %.0f: is "
                          "something else using the machine?",
                          *speed.tokens_per_second, 100 * share, *speed.baseline)},
         alerts);
}

std::vector<v1::Alert> AlertRules::OnEvaluation(int64_t step, double validation_loss) {
  std::vector<v1::Alert> alerts;
  if (!std::isfinite(validation_loss)) return alerts;
  const std::optional<BestValidation> best = best_validation_;
  if (!best || validation_loss < best->loss) best_validation_ = {validation_loss, step};
  if (!best || losses_.empty()) return alerts;
  const double train = MeanOfNewest(kRecent);
  const double gap = validation_loss - train;
  const double rise = validation_loss - best->loss;
  Verdict verdict = Verdict::kKeep;
  if (gap > kGap && rise > kGapRise) verdict = Verdict::kRaise;
  if (gap < kGapClear || rise <= 0) verdict = Verdict::kClear;
  const bool diverged = IsAboveStart(train);
  const std::string facts = absl::StrFormat(
      "validation loss %.4g was %.4g at step %d, its best, and is %.2f above the "
      "training loss %.4g",
      validation_loss, best->loss, best->step, gap, train);
  const std::string advice =
      diverged ? absl::StrFormat(
                     "the training loss is above the %.4g of the start, so the job "
                     "probably diverged; lower optimizer.learning_rate",
                     std::min(start_losses_.front(), MeanAtStart()))
               : absl::StrFormat(
                     "the model is probably overfitting; stop at about step %d, or add "
                     "data",
                     best->step);
  Report(verdict,
         {"validation_gap", v1::Alert::WARNING, step, gap, kGap, absl::StrCat(facts, ": ", advice)},
         &alerts);
  return alerts;
}

}  // namespace trainerd::engine
