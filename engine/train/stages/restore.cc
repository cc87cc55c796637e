// SPDX-License-Identifier: Apache-2.0
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/checkpoint/optimizer_file.h"
#include "engine/optim/lr_schedule.h"
#include "engine/train/stages/stages.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/enum_words.h"

namespace trainerd::engine {
namespace {

// The learning rate of the next step follows the schedule of this job, not that of the checkpoint.
void NoteLearningRate(AttemptContext& context) {
  const v1::JobConfig& ours = context.config;
  const v1::JobConfig& theirs = context.start->state.config.config();
  const int64_t step = context.start->state.step + 1;
  const auto rate = [&](const v1::JobConfig& config, int64_t total_steps) {
    return LearningRate(config.schedule(), config.optimizer().learning_rate(), step, total_steps);
  };
  const double now = rate(ours, context.loader->total_steps());
  const double before = rate(theirs, context.start->state.total_steps);
  if (now == before || step > context.loader->total_steps()) return;
  EmitNotice(
      context.events, v1::Notice::INFO, "LEARNING_RATE_CHANGED",
      absl::StrFormat("step %d, the next one, has learning rate %.4g: the schedule is %s from %.4g "
                      "over %d steps. As the checkpoint was trained, it would be %.4g",
                      step, now, EnumText(ours.schedule().type()), ours.optimizer().learning_rate(),
                      context.loader->total_steps(), before));
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
    NoteLearningRate(context);
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
  context.state.environment = context.environment;
  context.monitor = std::make_unique<LiveMonitor>(LiveMonitor::Options{
      .total_steps = context.state.total_steps, .state = context.state.monitor});
  return absl::OkStatus();
}

}  // namespace trainerd::engine
