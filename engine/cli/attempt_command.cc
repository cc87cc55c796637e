// SPDX-License-Identifier: Apache-2.0
#include "engine/cli/attempt_command.h"

#include <ATen/Parallel.h>

#include <cstdio>
#include <memory>

#include "engine/cli/control_listener.h"
#include "engine/cli/event_sinks.h"
#include "engine/cli/spool_sink.h"
#include "engine/core/job_error.h"
#include "engine/run_job.h"
#include "proto/base/status_macros.h"
#include "proto/contract/run_dir/attempt_files.h"
#include "spdlog/spdlog.h"

namespace trainerd::engine {
namespace {

internal::WorkerExitRecord FailedRecord(const absl::Status& status) {
  internal::WorkerExitRecord record;
  record.set_end(v1::Attempt::FAILED);
  *record.mutable_error() = ToJobError("start", WithCause(status, {.code = "SPOOL_FAILED",
                                                                   .cause = v1::JobError::STORAGE,
                                                                   .retryable = true}));
  return record;
}

internal::WorkerExitRecord RunWithSpool(const internal::AttemptSpec& spec,
                                        const AttemptOptions& options) {
  absl::StatusOr<std::unique_ptr<SpoolSink>> spool =
      SpoolSink::Open({.attempt_dir = options.attempt_dir,
                       .job = spec.job(),
                       .attempt = spec.attempt(),
                       .segment_bytes = spec.spool_segment_bytes()});
  if (!spool.ok()) return FailedRecord(spool.status());
  TextSink log(stdout, TextSink::Samples::kHide);
  TeeSink events({spool->get(), &log});
  RunControl control;
  internal::WorkerExitRecord record;
  bool preempted = false;
  {
    const ControlListener listener(control, {.control_fd = options.control_fd,
                                             .on_signal = ControlListener::OnSignal::kLeave});
    record = RunJob(spec, events, control, options.run);
    preempted = listener.preempted();
  }
  if (preempted && record.end() == v1::Attempt::PAUSED_OK)
    record.set_end(v1::Attempt::PREEMPTED_OK);
  record.set_metrics_dropped((*spool)->dropped());
  // The record must not be more durable than the events in front of it.
  if (const absl::Status synced = (*spool)->Sync(); !synced.ok()) {
    spdlog::error("job={} attempt={} spool: {}", spec.job(), spec.attempt(),
                  std::string(synced.message()));
  }
  return record;
}

}  // namespace

int RunAttemptCommand(const AttemptOptions& options) {
  PrepareSignals();
  const absl::StatusOr<internal::AttemptSpec> spec = ReadAttemptSpec(options.attempt_dir);
  if (!spec.ok()) {
    std::fprintf(stderr, "trainerd-worker: %s\n", std::string(spec.status().message()).c_str());
    return 1;
  }
  if (spec->cpu_threads() > 0) at::set_num_threads(spec->cpu_threads());
  const internal::WorkerExitRecord record = RunWithSpool(*spec, options);
  if (record.has_error())
    std::printf("error %s: %s\n", record.error().code().c_str(), record.error().message().c_str());
  std::printf("end %s\n", v1::Attempt::End_Name(record.end()).c_str());
  std::fflush(stdout);
  if (const absl::Status written = WriteWorkerExitRecord(options.attempt_dir, record);
      !written.ok()) {
    std::fprintf(stderr, "trainerd-worker: %s\n", std::string(written.message()).c_str());
    return 1;
  }
  return record.end() == v1::Attempt::FAILED ? 1 : 0;
}

}  // namespace trainerd::engine
