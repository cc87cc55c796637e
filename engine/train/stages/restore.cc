// SPDX-License-Identifier: Apache-2.0
#include <memory>

#include "engine/checkpoint/optimizer_file.h"
#include "engine/train/stages/stages.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {

absl::Status Restore(AttemptContext& context) {
  if (context.start.has_value()) {
    RETURN_IF_ERROR(
        ReadOptimizerFile(context.start->folder, *context.parameters, *context.optimizer));
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
