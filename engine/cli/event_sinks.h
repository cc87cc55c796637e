// SPDX-License-Identifier: Apache-2.0
// Where the events of a worker go besides the spool: JSON lines for programs, text for a terminal
// or a log.
#pragma once

#include <cstdio>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/core/event_sink.h"

namespace trainerd::engine {

// Passes each event to several sinks, in order; they must outlive it.
class TeeSink : public EventSink {
 public:
  explicit TeeSink(std::vector<EventSink*> sinks) : sinks_(std::move(sinks)) {}
  void Emit(v1::Event event) override;

 private:
  const std::vector<EventSink*> sinks_;
};

// One JSON document per line, flushed at once. Thread-safe.
class JsonLineSink : public EventSink {
 public:
  // Appends to `path`; "-" = stdout. Errors: those of opening the file.
  static absl::StatusOr<std::unique_ptr<JsonLineSink>> Open(const std::string& path,
                                                            const std::string& job,
                                                            int32_t attempt);
  ~JsonLineSink() override;
  void Emit(v1::Event event) override;

 private:
  JsonLineSink(std::FILE* file, std::string job, int32_t attempt)
      : file_(file), job_(std::move(job)), attempt_(attempt) {}

  std::FILE* const file_;
  const std::string job_;
  const int32_t attempt_;
  std::mutex mutex_;  // one line at a time
};

// Human-readable lines on `file`; at most ten steps per second. Thread-safe.
class TextSink : public EventSink {
 public:
  // A log must not contain the text of samples; a terminal shows it.
  enum class Samples { kShow, kHide };
  TextSink(std::FILE* file, Samples samples) : file_(file), samples_(samples) {}
  void Emit(v1::Event event) override;

 private:
  std::FILE* const file_;
  const Samples samples_;
  std::mutex mutex_;
  double last_step_seconds_ = -1;  // guarded by mutex_: when a step was last shown
};

}  // namespace trainerd::engine
