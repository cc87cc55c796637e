// SPDX-License-Identifier: Apache-2.0
#include "engine/monitor/live_monitor.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace trainerd::engine {

LiveMonitor::LiveMonitor(Options options)
    : total_steps_(options.total_steps), alerts_(std::move(options.state), options.total_steps) {}

LiveMonitor::Output LiveMonitor::OnStep(const StepMeasurement& measured) {
  const double spent_before = overhead_.Take();
  Output output;
  {
    ScopedOverhead scope(overhead_);
    throughput_.Add(measured.tokens, measured.step_seconds);
    if (measured.loss && std::isfinite(*measured.loss)) {
      loss_sum_ += *measured.loss;
      ++loss_count_;
    }
    output.alerts =
        alerts_.OnStep(measured, {throughput_.tokens_per_second(), throughput_.baseline()});

    v1::Metrics& metrics = output.metrics;
    metrics.set_step(measured.step);
    metrics.set_tokens(measured.tokens);
    metrics.set_target_tokens(measured.target_tokens);
    if (measured.epoch) metrics.set_epoch(*measured.epoch);
    if (measured.loss) metrics.set_loss(*measured.loss);
    if (measured.grad_norm) metrics.set_grad_norm(*measured.grad_norm);
    if (measured.learning_rate) metrics.set_learning_rate(*measured.learning_rate);
    metrics.mutable_learning_rates()->insert(measured.learning_rates.begin(),
                                             measured.learning_rates.end());
    if (measured.preference) *metrics.mutable_preference() = *measured.preference;
    if (measured.memory_bytes) metrics.set_memory_bytes(*measured.memory_bytes);
    if (measured.memory_peak_bytes) metrics.set_memory_peak_bytes(*measured.memory_peak_bytes);
    if (const auto speed = throughput_.tokens_per_second()) metrics.set_tokens_per_second(*speed);
    if (measured.step_seconds > 0) metrics.set_step_seconds(measured.step_seconds);
    if (total_steps_ > 0) {
      metrics.set_total_steps(total_steps_);
      const auto eta = throughput_.EtaSeconds(total_steps_ - measured.step);
      if (eta) metrics.set_eta_seconds(*eta);
    }
  }
  const double spent = spent_before + overhead_.Take();
  if (measured.step_seconds > 0) {
    output.metrics.set_monitor_overhead(std::min(1.0, spent / measured.step_seconds));
  }
  return output;
}

std::vector<v1::Alert> LiveMonitor::OnEvaluation(int64_t step, double loss) {
  return alerts_.OnEvaluation(step, loss);
}

std::optional<double> LiveMonitor::mean_loss() const {
  if (loss_count_ == 0) return std::nullopt;
  return loss_sum_ / static_cast<double>(loss_count_);
}

}  // namespace trainerd::engine
