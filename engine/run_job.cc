// SPDX-License-Identifier: Apache-2.0
#include "engine/run_job.h"

#include <chrono>
#include <string_view>
#include <utility>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "engine/core/job_error.h"
#include "engine/train/attempt_context.h"
#include "engine/train/loop/train_loop.h"
#include "engine/train/stages/stages.h"
#include "proto/base/status_macros.h"
#include "proto/base/time.h"

namespace trainerd::engine {
namespace {

using Clock = std::chrono::steady_clock;

struct Stage {
  const char* name;
  absl::Status (*body)(AttemptContext&);
};

constexpr Stage kStages[] = {
    {"CheckRunIdentity", CheckRunIdentity},
    {"OpenModel", OpenModel},
    {"PrepareData", PrepareData},
    {"CheckMasking", CheckMasking},
    {"LoadWeights", LoadWeights},
    {"BuildOptimizer", BuildOptimizer},
    {"Restore", Restore},
    {"ComputeReference", ComputeReference},
    {"Train", TrainLoop},
    {"SaveFinal", SaveFinal},
};

absl::Status RunStage(AttemptContext& context, const Stage& stage) {
  // Train handles a stop itself and writes a checkpoint. Only a discard interrupts SaveFinal.
  const std::string_view name = stage.name;
  if (name != "Train" && name != "SaveFinal") RETURN_IF_ERROR(CheckStopRequested(context.control));
  v1::Event begin;
  begin.mutable_stage()->set_stage(stage.name);
  context.events.Emit(std::move(begin));
  const Clock::time_point start = Clock::now();
  RETURN_IF_ERROR(stage.body(context));
  v1::Event end;
  end.mutable_stage()->set_stage(stage.name);
  end.mutable_stage()->set_finished(true);
  end.mutable_stage()->set_seconds(SecondsSince(start));
  context.events.Emit(std::move(end));
  return absl::OkStatus();
}

v1::Attempt::End EndOf(StopMode stop_mode) {
  switch (stop_mode) {
    case StopMode::kPause:
      return v1::Attempt::PAUSED_OK;
    case StopMode::kStop:
      return v1::Attempt::STOPPED_OK;
    case StopMode::kDiscard:
      return v1::Attempt::DISCARDED;
    case StopMode::kNone:
      break;
  }
  return v1::Attempt::FAILED;
}

}  // namespace

internal::WorkerExitRecord RunJob(const internal::AttemptSpec& spec, EventSink& events,
                                  RunControl& control, const RunOptions& options) {
  AttemptContext context(spec, events, control, options);
  absl::Status status;
  const char* stage = "";
  for (const Stage& next : kStages) {
    if (next.body == ComputeReference && !context.config.has_preference()) continue;
    stage = next.name;
    status = RunStage(context, next);
    if (!status.ok()) break;
  }
  internal::WorkerExitRecord record;
  record.set_end(status.ok()                 ? v1::Attempt::COMPLETED
                 : absl::IsCancelled(status) ? EndOf(control.stop_mode())
                                             : v1::Attempt::FAILED);
  if (record.end() == v1::Attempt::FAILED) {
    *record.mutable_error() = ToJobError(stage, status);
    record.mutable_error()->set_attempt(spec.attempt());
    record.set_needed_bytes(context.needed_bytes);
  }
  if (context.last_checkpoint.has_value())
    *record.mutable_last_checkpoint() = *context.last_checkpoint;
  record.set_first_step(context.first_step);
  record.set_last_step(context.last_step);
  *record.mutable_end_time() = ToProto(absl::Now());
  return record;
}

}  // namespace trainerd::engine
