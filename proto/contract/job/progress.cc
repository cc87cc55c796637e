// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/job/progress.h"

namespace trainerd {
namespace {

void ApplyMetrics(const v1::Event& event, v1::Progress* progress) {
  const v1::Metrics& metrics = event.metrics();
  progress->set_step(metrics.step());
  progress->set_tokens(progress->tokens() + metrics.tokens());
  *progress->mutable_last_step_time() = event.time();
  metrics.has_loss() ? progress->set_loss(metrics.loss()) : progress->clear_loss();
  metrics.has_learning_rate() ? progress->set_learning_rate(metrics.learning_rate())
                              : progress->clear_learning_rate();
  metrics.has_tokens_per_second() ? progress->set_tokens_per_second(metrics.tokens_per_second())
                                  : progress->clear_tokens_per_second();
  metrics.has_eta_seconds() ? progress->set_eta_seconds(metrics.eta_seconds())
                            : progress->clear_eta_seconds();
  // These describe the whole job, so they stay.
  if (metrics.has_epoch()) progress->set_epoch(metrics.epoch());
  if (metrics.has_total_steps()) progress->set_total_steps(metrics.total_steps());
}

}  // namespace

void ApplyToProgress(const v1::Event& event, v1::Progress* progress) {
  switch (event.body_case()) {
    case v1::Event::kMetrics:
      ApplyMetrics(event, progress);
      break;
    case v1::Event::kStage:
      if (!event.stage().finished()) progress->set_stage(event.stage().stage());
      break;
    case v1::Event::kEval:
      if (event.eval().set() == "validation" && event.eval().has_loss())
        progress->set_validation_loss(event.eval().loss());
      break;
    default:
      break;
  }
}

}  // namespace trainerd
