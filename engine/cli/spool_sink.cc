// SPDX-License-Identifier: Apache-2.0
#include "engine/cli/spool_sink.h"

#include <utility>

#include "absl/time/clock.h"
#include "proto/base/status_macros.h"
#include "proto/base/time.h"
#include "spdlog/spdlog.h"

namespace trainerd::engine {
namespace {

bool IsDroppable(const v1::Event& event) {
  return event.has_metrics() || event.has_sample() || event.has_notice();
}

}  // namespace

void StampEvent(const std::string& job, int32_t attempt, v1::Event* event) {
  event->set_job(job);
  event->set_attempt(attempt);
  if (!event->has_time()) *event->mutable_time() = ToProto(absl::Now());
}

absl::StatusOr<std::unique_ptr<SpoolSink>> SpoolSink::Open(const Options& options) {
  ASSIGN_OR_RETURN(std::unique_ptr<SpoolWriter> writer,
                   SpoolWriter::Open(options.attempt_dir, options.segment_bytes));
  return std::unique_ptr<SpoolSink>(new SpoolSink(options, std::move(writer)));
}

void SpoolSink::Emit(v1::Event event) {
  StampEvent(job_, attempt_, &event);
  absl::Status status = writer_->Append(event, IsDroppable(event));
  // The steps in front of a checkpoint must not be less durable than the checkpoint.
  if (status.ok() && event.checkpoint().kind() == v1::CheckpointEvent::STARTED)
    status = writer_->Sync();
  // Training never waits for the spool: what it could not take is counted there, and the log says
  // why.
  if (!status.ok())
    spdlog::warn("job={} attempt={} spool: {}", job_, attempt_, std::string(status.message()));
}

}  // namespace trainerd::engine
