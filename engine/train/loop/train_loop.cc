// SPDX-License-Identifier: Apache-2.0
#include "engine/train/loop/train_loop.h"

#include <chrono>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/core/job_error.h"
#include "engine/optim/lr_schedule.h"
#include "engine/platform/device.h"
#include "engine/train/loop/checkpointing.h"
#include "engine/train/loop/evaluation.h"
#include "engine/train/loop/samples.h"
#include "engine/train/loop/space_wait.h"
#include "engine/train/loop/train_step.h"
#include "proto/base/status_macros.h"
#include "proto/base/time.h"

namespace trainerd::engine {
namespace {

using Clock = std::chrono::steady_clock;

bool OnInterval(int64_t step, int64_t every) { return every > 0 && step > 0 && step % every == 0; }

bool IsEvaluationDue(const AttemptContext& context) {
  const v1::EvaluationConfig& config = context.config.evaluation();
  const int64_t step = context.state.step;
  if (context.data.validation_rows.empty() || context.state.evaluated_step == step) return false;
  return OnInterval(step, config.every_steps()) || (step == 0 && config.at_start()) ||
         (step >= context.state.total_steps && config.at_end());
}

bool AreSamplesDue(const AttemptContext& context) {
  const int64_t step = context.state.step;
  if (context.prompts.empty() || context.state.sampled_step == step) return false;
  return OnInterval(step, context.config.samples().every_steps()) || step == 0 ||
         step >= context.state.total_steps;
}

void EmitAlerts(AttemptContext& context, const std::vector<v1::Alert>& alerts) {
  for (const v1::Alert& alert : alerts) {
    v1::Event event;
    *event.mutable_alert() = alert;
    context.events.Emit(std::move(event));
  }
}

// Whether the evaluation at the current step is better than all before it. No checkpoint can hold
// step 0.
void NoteBest(AttemptContext& context, const std::string& metric, double value) {
  const v1::EvaluationConfig& config = context.config.evaluation();
  const bool counts = config.has_best() && config.best().metric() == metric &&
                      std::isfinite(value) && context.state.step > 0;
  if (!counts) return;
  const bool largest = config.best().mode() == v1::BestConfig::MODE_MAX;
  const double best = context.best_value.value_or(value);
  if (context.best_value.has_value() && (largest ? value <= best : value >= best)) return;
  context.best_value = value;
  context.best_step = context.state.step;
}

absl::Status Evaluate(AttemptContext& context) {
  const Clock::time_point begin = Clock::now();
  ASSIGN_OR_RETURN(const ValidationLoss result,
                   EvaluateLoss(*context.decoder, *context.data.store, context.data.validation_rows,
                                context.config.train().batch_size(), context.control,
                                context.preference.has_value() ? &*context.preference : nullptr));
  context.state.evaluated_step = context.state.step;
  v1::Event event;
  v1::EvalResult& body = *event.mutable_eval();
  body.set_step(context.state.step);
  body.set_set("validation");
  body.set_loss(result.loss);
  body.set_target_tokens(result.target_tokens);
  body.set_seconds(SecondsSince(begin));
  context.events.Emit(std::move(event));
  NoteBest(context, "eval.validation.loss", result.loss);
  EmitAlerts(context, context.monitor->OnEvaluation(context.state.step, result.loss));
  return absl::OkStatus();
}

// Validation and samples, if they are due. One that a stop request interrupts remains due.
absl::Status Observe(AttemptContext& context) {
  absl::Status status;
  if (IsEvaluationDue(context)) status = Evaluate(context);
  if (status.ok() && AreSamplesDue(context)) {
    status = EmitSamples(context);
    if (status.ok()) context.state.sampled_step = context.state.step;
  }
  return absl::IsCancelled(status) ? absl::OkStatus() : status;
}

void AddLearningRates(const v1::OptimizerConfig& optimizer, const std::vector<double>& rates,
                      StepMeasurement* measured) {
  // Absent where the step failed before it had one.
  if (rates.empty()) return;
  measured->learning_rate = rates.front();
  if (rates.size() == 1) return;
  const std::vector<std::string> groups = LearningRateGroups(optimizer);
  for (size_t i = 0; i < rates.size(); ++i) measured->learning_rates[groups[i]] = rates[i];
}

StepMeasurement Measured(AttemptContext& context, int64_t step, const StepResult& result,
                         double seconds) {
  const ScopedOverhead overhead(context.monitor->overhead());
  StepMeasurement measured{.step = step,
                           .epoch = result.epoch,
                           .loss = result.loss,
                           .grad_norm = result.grad_norm,
                           .tokens = result.tokens,
                           .target_tokens = result.target_tokens,
                           .step_seconds = seconds,
                           .preference = result.preference};
  AddLearningRates(context.config.optimizer(), result.learning_rates, &measured);
  if (const auto memory = ReadDeviceMemory(context.device); memory.has_value()) {
    measured.memory_bytes = memory->bytes;
    measured.memory_peak_bytes = memory->peak_bytes;
  }
  return measured;
}

void Report(AttemptContext& context, int64_t step, const StepResult& result, double seconds) {
  LiveMonitor::Output output = context.monitor->OnStep(Measured(context, step, result, seconds));
  const ScopedOverhead overhead(context.monitor->overhead());
  v1::Event event;
  *event.mutable_metrics() = std::move(output.metrics);
  context.events.Emit(std::move(event));
  EmitAlerts(context, output.alerts);
}

absl::Status NextStep(AttemptContext& context) {
  const int64_t step = context.state.step + 1;
  const Clock::time_point begin = Clock::now();
  StepResult result;
  const absl::Status status = TrainStep(context, step, &result);
  const double seconds = SecondsSince(begin);
  if (!status.ok()) {
    // A step that was not applied has no metrics; its error is an alert and a notice.
    if (!result.IsFinite()) {
      EmitAlerts(context, context.monitor->OnStep(Measured(context, step, result, seconds)).alerts);
      EmitNotice(context.events, v1::Notice::ERROR, "NON_FINITE", std::string(status.message()));
    }
    return status;
  }
  context.state.step = step;
  context.state.epoch = result.epoch;
  context.state.tokens += result.tokens;
  context.state.target_tokens += result.target_tokens;
  if (step < context.state.total_steps) {
    const StepPlace next = context.loader->Place(step + 1);
    context.state.next = {.epoch = next.epoch, .first_row = next.first_row};
  }
  if (context.first_step == 0) context.first_step = step;
  context.last_step = step;
  context.last_loss = result.loss;
  context.train_seconds += seconds;
  Report(context, step, result, seconds);
  return absl::OkStatus();
}

bool IsSaved(const AttemptContext& context) {
  return context.state.step == 0 || (context.last_checkpoint.has_value() &&
                                     context.last_checkpoint->step() == context.state.step);
}

bool IsCheckpointDue(AttemptContext& context) {
  // Taken only if it can be served: otherwise at the next step.
  const bool requested = !IsSaved(context) && context.control.TakeCheckpointRequest();
  const int64_t step = context.state.step;
  return requested || OnInterval(step, context.config.checkpoint().every_steps()) ||
         (step > 0 && step == context.best_step) || step >= context.state.total_steps;
}

}  // namespace

absl::Status TrainLoop(AttemptContext& context) {
  if (context.spec.has_best_value()) context.best_value = context.spec.best_value();
  while (true) {
    RETURN_IF_ERROR(CheckDiscard(context.control));
    RETURN_IF_ERROR(Observe(context));
    RETURN_IF_ERROR(CheckDiscard(context.control));
    if (IsCheckpointDue(context) || context.control.stop_mode() != StopMode::kNone) {
      if (!IsSaved(context)) WaitForSpace(context);
      RETURN_IF_ERROR(CheckDiscard(context.control));
      RETURN_IF_ERROR(SaveCheckpoint(context));
    }
    if (context.control.stop_mode() != StopMode::kNone) {
      if (IsSaved(context)) return CheckStopRequested(context.control);
      continue;  // requested after the check above: save first
    }
    if (context.state.step >= context.state.total_steps) break;
    RETURN_IF_ERROR(NextStep(context));
  }
  if (context.state.step == 0) {
    return WithCause(
        absl::FailedPreconditionError(
            "no optimizer step was applied, so there is nothing to save; add data, or raise "
            "train.epochs"),
        {.code = "NO_STEPS", .cause = v1::JobError::DATA, .retryable = false});
  }
  return absl::OkStatus();
}

}  // namespace trainerd::engine
