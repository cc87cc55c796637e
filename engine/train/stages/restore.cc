// SPDX-License-Identifier: Apache-2.0
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/checkpoint/optimizer_file.h"
#include "engine/optim/lr_schedule.h"
#include "engine/train/stages/stages.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/enum_words.h"

namespace trainerd::engine {
namespace {

// The learning rates of the next step follow the schedule and the peaks of this job, not those of
// the checkpoint.
void NoteLearningRates(AttemptContext& context) {
  const v1::JobConfig& ours = context.config;
  const v1::JobConfig& theirs = context.start->state.config.config();
  const int64_t step = context.start->state.step + 1;
  const int64_t total_steps = context.loader->total_steps();
  if (step > total_steps) return;
  const std::vector<std::string> groups = LearningRateGroups(ours.optimizer());
  const std::vector<double> peaks = LearningRatePeaks(ours.optimizer()),
                            now = LearningRates(ours, step, total_steps),
                            before = LearningRates(theirs, step, context.start->state.total_steps);
  // The optimizer is the same, or its state would not fit.
  for (size_t i = 0; i < now.size() && i < before.size(); ++i) {
    if (now[i] == before[i]) continue;
    EmitNotice(
        context.events, v1::Notice::INFO, "LEARNING_RATE_CHANGED",
        absl::StrFormat("step %d, the next one, has learning rate %.4g%s: the schedule is %s from "
                        "%.4g over %d steps. As the checkpoint was trained, it would be %.4g",
                        step, now[i], now.size() > 1 ? absl::StrCat(" for ", groups[i]) : "",
                        EnumText(ours.schedule().type()), peaks[i], total_steps, before[i]));
  }
}

// A parameter that is frozen now keeps the value in model.safetensors.
void NoteDroppedMasters(AttemptContext& context, int64_t dropped) {
  if (dropped == 0) return;
  EmitNotice(
      context.events, v1::Notice::WARNING, "MASTERS_DROPPED",
      absl::StrCat("train.freeze freezes ", dropped, dropped == 1 ? " tensor" : " tensors",
                   " that the checkpoint trained with fp32 masters. They keep the values in its "
                   "model.safetensors, which are rounded to the model's dtype"));
}

}  // namespace

absl::Status Restore(AttemptContext& context) {
  if (context.start.has_value()) {
    RETURN_IF_ERROR(
        ReadOptimizerFile(context.start->folder, *context.parameters, *context.optimizer));
    ASSIGN_OR_RETURN(const int64_t dropped,
                     CountDroppedMasters(context.start->folder, *context.parameters));
    NoteDroppedMasters(context, dropped);
    NoteLearningRates(context);
    context.state = context.start->state;
    // A job that has become longer or shorter ends at another step: evaluate and sample there
    // again.
    if (context.state.total_steps != context.loader->total_steps() &&
        context.state.step >= context.loader->total_steps()) {
      context.state.evaluated_step = context.state.sampled_step = -1;
    }
  }
  context.state.total_steps = context.loader->total_steps();
  context.state.config = context.spec.config();
  context.state.data_fingerprint = context.data.report.fingerprint();
  context.state.model_fingerprint = context.model_fingerprint;
  context.state.environment = context.environment;
  context.monitor = std::make_unique<LiveMonitor>(LiveMonitor::Options{
      .total_steps = context.state.total_steps, .state = context.state.monitor});
  return absl::OkStatus();
}

}  // namespace trainerd::engine
