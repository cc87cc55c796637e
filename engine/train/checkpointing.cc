// SPDX-License-Identifier: Apache-2.0
#include "engine/train/checkpointing.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "engine/checkpoint/checkpoint_name.h"
#include "engine/train/job_error.h"

namespace trainerd::engine {
namespace {

// A name for the events in front of the one that has the whole description.
v1::Checkpoint Announced(const Run& run) {
  v1::Checkpoint checkpoint;
  const std::string id = CheckpointName({.step = run.state.step, .attempt = run.spec.attempt()});
  checkpoint.set_name(absl::StrCat(run.spec.job(), "/checkpoints/", id));
  checkpoint.set_job(run.spec.job());
  checkpoint.set_step(run.state.step);
  checkpoint.set_attempt(run.spec.attempt());
  return checkpoint;
}

void Emit(Run& run, v1::CheckpointEvent::Kind kind, v1::Checkpoint checkpoint,
          const std::string& message) {
  v1::Event event;
  v1::CheckpointEvent& body = *event.mutable_checkpoint();
  body.set_kind(kind);
  *body.mutable_checkpoint() = std::move(checkpoint);
  body.set_message(message);
  run.events.Emit(std::move(event));
}

}  // namespace

std::string TemplateOverride(const Run& run) {
  return run.config.data().chat_template() == "model" ? "" : run.text.chat_template->source();
}

absl::Status SaveCheckpoint(Run& run) {
  if (run.state.step == 0) return absl::OkStatus();
  if (run.last_checkpoint.has_value() && run.last_checkpoint->step() == run.state.step)
    return absl::OkStatus();
  const absl::Time begin = absl::Now();
  Emit(run, v1::CheckpointEvent::STARTED, Announced(run), "");
  run.state.monitor = run.monitor->state();
  const CheckpointTarget target{
      .run_dir = run.spec.run_dir(),
      .job = run.spec.job(),
      .attempt = run.spec.attempt(),
      .parent = run.last_checkpoint.has_value() ? run.last_checkpoint->name() : "",
      .model_folder = run.config.model().path(),
      .chat_template = TemplateOverride(run)};
  absl::StatusOr<v1::Checkpoint> checkpoint =
      WriteCheckpoint(target, run.state, *run.parameters, *run.optimizer);
  if (!checkpoint.ok()) {
    const std::string intact =
        run.last_checkpoint.has_value()
            ? absl::StrCat("; the checkpoint of step ", run.last_checkpoint->step(), " is intact")
            : "";
    const std::string message =
        absl::StrCat("the checkpoint of step ", run.state.step,
                     " was not written: ", checkpoint.status().message(), intact);
    Emit(run, v1::CheckpointEvent::FAILED, Announced(run), message);
    return WithCause(absl::Status(checkpoint.status().code(), message),
                     WriteCause(checkpoint.status(), "CHECKPOINT_FAILED"));
  }
  v1::Event event;
  v1::CheckpointEvent& body = *event.mutable_checkpoint();
  body.set_kind(v1::CheckpointEvent::PUBLISHED);
  *body.mutable_checkpoint() = *checkpoint;
  const absl::Duration taken = absl::Now() - begin;
  body.mutable_write_time()->set_seconds(absl::ToInt64Seconds(taken));
  body.mutable_write_time()->set_nanos(
      static_cast<int32_t>(absl::ToInt64Nanoseconds(taken % absl::Seconds(1))));
  run.events.Emit(std::move(event));
  run.last_checkpoint = *std::move(checkpoint);
  return absl::OkStatus();
}

}  // namespace trainerd::engine
