// SPDX-License-Identifier: Apache-2.0
// Turns the measurements of a step into the Metrics event, and raises and clears alerts. Pure: no
// LibTorch, no clock of its own but the overhead meter, no files. What each alert means, and when
// it clears: engine/monitor/README.md.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/monitor/alerts.h"
#include "engine/monitor/overhead_meter.h"
#include "engine/monitor/step_measurement.h"
#include "engine/monitor/throughput.h"
#include "trainerd/v1/event.pb.h"

namespace trainerd::engine {

// Thread-safety: one owner at a time.
class LiveMonitor {
 public:
  struct Options {
    int64_t total_steps = 0;  // of the whole job; 0 = not known: no ETA
    MonitorState state;       // of the checkpoint that the attempt starts from
  };
  explicit LiveMonitor(Options options);

  struct Output {
    v1::Metrics metrics;
    std::vector<v1::Alert> alerts;  // raised and cleared by this step; emit them after the metrics
  };
  // Call once per step, in order, also for a step whose loss is not finite.
  Output OnStep(const StepMeasurement& measured);

  // Validation loss measured after `step`. The gap is to the mean of the newest training losses.
  std::vector<v1::Alert> OnEvaluation(int64_t step, double loss);

  // Time spent on monitoring outside OnStep (writing events, reading memory) is measured by a
  // ScopedOverhead on this meter; it counts to the next step's monitor_overhead.
  OverheadMeter& overhead() { return overhead_; }

  MonitorState state() const { return alerts_.state(); }
  // Mean of this attempt's finite losses; absent before the first.
  std::optional<double> mean_loss() const;

 private:
  int64_t total_steps_;
  Throughput throughput_;
  AlertRules alerts_;
  OverheadMeter overhead_;
  double loss_sum_ = 0;
  int64_t loss_count_ = 0;
};

}  // namespace trainerd::engine
