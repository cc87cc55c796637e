// SPDX-License-Identifier: Apache-2.0
// The alert rules: each alert is raised once when its condition becomes true and cleared once when
// a weaker condition holds (hysteresis), so that a value near the limit does not toggle it. A
// cleared alert is not raised again for 500 steps. Definitions and numbers: README.md of this
// folder.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "engine/monitor/plateau.h"
#include "engine/monitor/step_measurement.h"
#include "trainerd/v1/event.pb.h"

namespace trainerd::engine {

// Speed of the attempt, from Throughput.
struct Speed {
  std::optional<double> tokens_per_second;
  std::optional<double> baseline;
};

// Thread-safety: one owner at a time.
class AlertRules {
 public:
  // `last_step`: of the whole job; 0 = not known.
  explicit AlertRules(MonitorState state, int64_t last_step = 0);

  // Alerts that this step raises or clears, in a fixed order.
  std::vector<v1::Alert> OnStep(const StepMeasurement& measured, const Speed& speed);
  // The same for a validation loss. Without a training loss and an earlier validation loss there is
  // no gap yet.
  std::vector<v1::Alert> OnEvaluation(int64_t step, double validation_loss);

  MonitorState state() const;

 private:
  struct Finding {
    const char* type;
    v1::Alert::Severity severity;
    int64_t step;
    double value;
    double threshold;
    std::string message;
  };
  // Whether the alert was cleared so recently that it is not raised again. The last step raises
  // critical ones all the same: a job that ends like this must not look like a plain success.
  bool IsTooSoon(const Finding& finding) const;
  // Follows the verdict, unless it changes nothing or comes too soon.
  void Report(Verdict verdict, const Finding& finding, std::vector<v1::Alert>* alerts);
  bool IsActive(const char* type) const { return active_.count(type) > 0; }

  void CheckFinite(const StepMeasurement& measured, std::vector<v1::Alert>* alerts);
  void CheckLossSpike(int64_t step, double loss, std::vector<v1::Alert>* alerts);
  void CheckPlateau(int64_t step, std::vector<v1::Alert>* alerts);
  void CheckDivergence(int64_t step, std::vector<v1::Alert>* alerts);
  void CheckGradient(int64_t step, double grad_norm, std::vector<v1::Alert>* alerts);
  void CheckVanishing(const StepMeasurement& measured, std::vector<v1::Alert>* alerts);
  void CheckLearningRate(int64_t step, double learning_rate, std::vector<v1::Alert>* alerts);
  void CheckThroughput(int64_t step, const Speed& speed, std::vector<v1::Alert>* alerts);
  double MeanOfNewest(size_t count) const;
  double MeanAtStart() const;
  // Mean loss of the newest steps above which the job diverged: `above` more than at its start, or
  // far above its first loss (a job whose first steps explode has no other start).
  double DivergenceLevel(double above, double first_factor) const;
  bool IsAboveStart(double loss) const;

  std::deque<double> losses_;  // finite ones, newest last
  std::set<std::string> active_;
  std::optional<double> spike_reference_;
  std::vector<double> start_losses_;  // the first kRecent finite ones of the job
  std::optional<BestValidation> best_validation_;
  PlateauRule plateau_;
  std::map<std::string, int64_t> cleared_steps_;
  int64_t last_step_;
};

}  // namespace trainerd::engine
