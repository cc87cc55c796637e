// SPDX-License-Identifier: Apache-2.0
// The engine's events into the spool of an attempt, from where the daemon ingests them.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "engine/core/event_sink.h"
#include "proto/contract/run_dir/spool_writer.h"

namespace trainerd::engine {

// Fills in job, attempt and time. Everything up to a checkpoint's STARTED event is durable before
// the checkpoint can be. Thread-safe.
class SpoolSink : public EventSink {
 public:
  struct Options {
    std::string attempt_dir;
    std::string job;
    int32_t attempt = 0;
    int64_t segment_bytes = 0;  // 0 = the default
  };
  static absl::StatusOr<std::unique_ptr<SpoolSink>> Open(const Options& options);

  void Emit(v1::Event event) override;
  // Makes what was emitted durable. Errors: those of SpoolWriter::Sync.
  absl::Status Sync() { return writer_->Sync(); }
  int64_t dropped() const { return writer_->dropped(); }

 private:
  SpoolSink(const Options& options, std::unique_ptr<SpoolWriter> writer)
      : job_(options.job), attempt_(options.attempt), writer_(std::move(writer)) {}

  const std::string job_;
  const int32_t attempt_;
  const std::unique_ptr<SpoolWriter> writer_;  // thread-safe itself
};

// Fills in job, attempt and, when it is absent, the time.
void StampEvent(const std::string& job, int32_t attempt, v1::Event* event);

}  // namespace trainerd::engine
