// SPDX-License-Identifier: Apache-2.0
#include "engine/train/loop/checkpointing.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "engine/checkpoint/checkpoint_name.h"
#include "engine/core/job_error.h"
#include "engine/train/kept_model.h"
#include "proto/base/time.h"

namespace trainerd::engine {
namespace {

// The checkpoint's identity, for events before its full description exists.
v1::Checkpoint Announced(const AttemptContext& context) {
  v1::Checkpoint checkpoint;
  const std::string id =
      CheckpointName({.step = context.state.step, .attempt = context.spec.attempt()});
  checkpoint.set_name(absl::StrCat(context.spec.job(), "/checkpoints/", id));
  checkpoint.set_job(context.spec.job());
  checkpoint.set_step(context.state.step);
  checkpoint.set_attempt(context.spec.attempt());
  return checkpoint;
}

void Emit(AttemptContext& context, v1::CheckpointEvent::Kind kind, v1::Checkpoint checkpoint,
          const std::string& message) {
  v1::Event event;
  v1::CheckpointEvent& body = *event.mutable_checkpoint();
  body.set_kind(kind);
  *body.mutable_checkpoint() = std::move(checkpoint);
  body.set_message(message);
  context.events.Emit(std::move(event));
}

}  // namespace

absl::Status SaveCheckpoint(AttemptContext& context) {
  if (context.state.step == 0) return absl::OkStatus();
  if (context.last_checkpoint.has_value() && context.last_checkpoint->step() == context.state.step)
    return absl::OkStatus();
  const absl::Time begin = SteadyNow();
  Emit(context, v1::CheckpointEvent::STARTED, Announced(context), "");
  context.state.monitor = context.monitor->state();
  const CheckpointTarget target{
      .run_dir = context.spec.run_dir(),
      .job = context.spec.job(),
      .attempt = context.spec.attempt(),
      .parent = context.last_checkpoint.has_value() ? context.last_checkpoint->name() : "",
      .model_folder = KeptModelFolder(context.spec.run_dir())};
  absl::StatusOr<v1::Checkpoint> checkpoint =
      WriteCheckpoint(target, context.state, *context.parameters, *context.optimizer);
  if (!checkpoint.ok()) {
    const std::string intact = context.last_checkpoint.has_value()
                                   ? absl::StrCat("; the checkpoint of step ",
                                                  context.last_checkpoint->step(), " is intact")
                                   : "";
    const std::string message =
        absl::StrCat("the checkpoint of step ", context.state.step,
                     " was not written: ", checkpoint.status().message(), intact);
    Emit(context, v1::CheckpointEvent::FAILED, Announced(context), message);
    return WithCause(absl::Status(checkpoint.status().code(), message),
                     WriteCause(checkpoint.status(), "CHECKPOINT_FAILED"));
  }
  v1::Event event;
  v1::CheckpointEvent& body = *event.mutable_checkpoint();
  body.set_kind(v1::CheckpointEvent::PUBLISHED);
  *body.mutable_checkpoint() = *checkpoint;
  *body.mutable_write_time() = ToProto(SteadyNow() - begin);
  context.events.Emit(std::move(event));
  context.last_checkpoint = *std::move(checkpoint);
  return absl::OkStatus();
}

}  // namespace trainerd::engine
