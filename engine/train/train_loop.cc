// SPDX-License-Identifier: Apache-2.0
#include "engine/train/train_loop.h"

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/train/checkpointing.h"
#include "engine/train/device.h"
#include "engine/train/evaluation.h"
#include "engine/train/job_error.h"
#include "engine/train/train_step.h"
#include "proto/contract/status_macros.h"

namespace trainerd::engine {
namespace {

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

bool OnInterval(int64_t step, int64_t every) { return every > 0 && step > 0 && step % every == 0; }

bool IsEvaluationDue(const Run& run) {
  const v1::EvaluationConfig& config = run.config.evaluation();
  const int64_t step = run.state.step;
  if (run.data.validation_rows.empty() || run.state.evaluated_step == step) return false;
  return OnInterval(step, config.every_steps()) || (step == 0 && config.at_start()) ||
         (step >= run.state.total_steps && config.at_end());
}

bool AreSamplesDue(const Run& run) {
  const int64_t step = run.state.step;
  if (run.prompts.empty() || run.state.sampled_step == step) return false;
  return OnInterval(step, run.config.samples().every_steps()) || step == 0 ||
         step >= run.state.total_steps;
}

void EmitAlerts(Run& run, const std::vector<v1::Alert>& alerts) {
  for (const v1::Alert& alert : alerts) {
    v1::Event event;
    *event.mutable_alert() = alert;
    run.events.Emit(std::move(event));
  }
}

absl::Status Evaluate(Run& run) {
  const Clock::time_point begin = Clock::now();
  ASSIGN_OR_RETURN(const ValidationLoss result,
                   EvaluateLoss(*run.decoder, *run.data.store, run.data.validation_rows,
                                run.config.train().batch_size(), run.control));
  run.state.evaluated_step = run.state.step;
  v1::Event event;
  v1::EvalResult& body = *event.mutable_eval();
  body.set_step(run.state.step);
  body.set_set("validation");
  body.set_loss(result.loss);
  body.set_target_tokens(result.target_tokens);
  body.set_seconds(SecondsSince(begin));
  run.events.Emit(std::move(event));
  EmitAlerts(run, run.monitor->OnEvaluation(run.state.step, result.loss));
  return absl::OkStatus();
}

// Validation and samples; one that is abandoned because the job is to leave stays due.
absl::Status Observe(Run& run) {
  absl::Status status;
  if (IsEvaluationDue(run)) status = Evaluate(run);
  if (status.ok() && AreSamplesDue(run)) {
    status = EmitSamples(run);
    if (status.ok()) run.state.sampled_step = run.state.step;
  }
  return absl::IsCancelled(status) ? absl::OkStatus() : status;
}

StepMeasurement Measured(Run& run, int64_t step, const StepResult& result, double seconds) {
  const ScopedOverhead overhead(run.monitor->overhead());
  StepMeasurement measured{.step = step,
                           .epoch = result.epoch,
                           .loss = result.loss,
                           .grad_norm = result.grad_norm,
                           .learning_rate = result.learning_rate,
                           .tokens = result.tokens,
                           .target_tokens = result.target_tokens,
                           .step_seconds = seconds};
  if (const auto memory = ReadDeviceMemory(run.device); memory.has_value()) {
    measured.memory_bytes = memory->bytes;
    measured.memory_peak_bytes = memory->peak_bytes;
  }
  return measured;
}

void Report(Run& run, int64_t step, const StepResult& result, double seconds) {
  LiveMonitor::Output output = run.monitor->OnStep(Measured(run, step, result, seconds));
  const ScopedOverhead overhead(run.monitor->overhead());
  v1::Event event;
  *event.mutable_metrics() = std::move(output.metrics);
  run.events.Emit(std::move(event));
  EmitAlerts(run, output.alerts);
}

absl::Status NextStep(Run& run) {
  const int64_t step = run.state.step + 1;
  const Clock::time_point begin = Clock::now();
  StepResult result;
  const absl::Status status = TrainStep(run, step, &result);
  const double seconds = SecondsSince(begin);
  if (!status.ok()) {
    // A step that was not applied has no metrics; what was wrong with it is an alert and a notice.
    if (!result.IsFinite()) {
      EmitAlerts(run, run.monitor->OnStep(Measured(run, step, result, seconds)).alerts);
      EmitNotice(run.events, v1::Notice::ERROR, "NON_FINITE", std::string(status.message()));
    }
    return status;
  }
  run.state.step = step;
  run.state.epoch = result.epoch;
  run.state.tokens += result.tokens;
  run.state.target_tokens += result.target_tokens;
  if (step < run.state.total_steps) {
    const StepPlace next = run.loader->Place(step + 1);
    run.state.next = {.epoch = next.epoch, .first_row = next.first_row};
  }
  if (run.first_step == 0) run.first_step = step;
  run.last_step = step;
  run.last_loss = result.loss;
  run.train_seconds += seconds;
  Report(run, step, result, seconds);
  return absl::OkStatus();
}

bool IsCheckpointDue(Run& run) {
  // Taken only when it can be served: before the first step there is nothing to write.
  const bool asked = run.state.step > 0 && run.control.TakeCheckpointRequest();
  return asked || OnInterval(run.state.step, run.config.checkpoint().every_steps()) ||
         run.state.step >= run.state.total_steps;
}

bool IsSaved(const Run& run) {
  return run.state.step == 0 ||
         (run.last_checkpoint.has_value() && run.last_checkpoint->step() == run.state.step);
}

}  // namespace

absl::Status TrainLoop(Run& run) {
  while (true) {
    RETURN_IF_ERROR(CheckDiscard(run.control));
    RETURN_IF_ERROR(Observe(run));
    RETURN_IF_ERROR(CheckDiscard(run.control));
    if (IsCheckpointDue(run) || run.control.wanted() != Wanted::kRun)
      RETURN_IF_ERROR(SaveCheckpoint(run));
    if (run.control.wanted() != Wanted::kRun) {
      if (IsSaved(run)) return CheckWanted(run.control);
      continue;  // asked for just now: save first
    }
    if (run.state.step >= run.state.total_steps) break;
    RETURN_IF_ERROR(NextStep(run));
  }
  if (run.state.step == 0) {
    return WithCause(
        absl::FailedPreconditionError("no optimizer step was applied: there is nothing to save"),
        {.code = "NO_STEPS", .cause = v1::JobError::DATA, .retryable = false});
  }
  return absl::OkStatus();
}

}  // namespace trainerd::engine
