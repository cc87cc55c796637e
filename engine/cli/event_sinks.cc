// SPDX-License-Identifier: Apache-2.0
#include "engine/cli/event_sinks.h"

#include <cerrno>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/cli/spool_sink.h"
#include "proto/base/atomic_file.h"
#include "proto/base/format.h"
#include "proto/base/plain_text.h"
#include "proto/contract/job/event_text.h"
#include "proto/contract/job_file/output_json.h"

namespace trainerd::engine {
namespace {

constexpr double kStepLineSeconds = 0.1;

double MonotonicSeconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Whether a log shows the event: not the steps of a checkpoint before it is durable.
bool IsShown(const v1::Event& event) {
  switch (event.body_case()) {
    case v1::Event::kCheckpoint:
      return event.checkpoint().kind() == v1::CheckpointEvent::PUBLISHED ||
             event.checkpoint().kind() == v1::CheckpointEvent::FAILED;
    case v1::Event::BODY_NOT_SET:
      return false;
    default:
      return true;
  }
}

// A line with the summary, and an indented line for each detail.
std::string Lines(const v1::Event& event) {
  std::string lines = EventSummary(event);
  if (!event.has_metrics()) lines = absl::StrCat(EventKind(event), "  ", lines);
  for (const std::string& detail : EventDetails(event)) absl::StrAppend(&lines, "\n  ", detail);
  return PlainTextLines(lines);
}

}  // namespace

void TeeSink::Emit(v1::Event event) {
  for (EventSink* sink : sinks_) sink->Emit(event);
}

absl::StatusOr<std::unique_ptr<JsonLineSink>> JsonLineSink::Open(const std::string& path,
                                                                 const std::string& job,
                                                                 int32_t attempt) {
  std::FILE* file = path == "-" ? stdout : std::fopen(path.c_str(), "ae");
  if (file == nullptr) return ErrnoStatus(errno, absl::StrCat("open ", path));
  return std::unique_ptr<JsonLineSink>(new JsonLineSink(file, job, attempt));
}

JsonLineSink::~JsonLineSink() {
  if (file_ != stdout) std::fclose(file_);
}

void JsonLineSink::Emit(v1::Event event) {
  StampEvent(job_, attempt_, &event);
  const std::string line = OutputJsonLine(event);
  const std::lock_guard<std::mutex> lock(mutex_);
  std::fprintf(file_, "%s\n", line.c_str());
  std::fflush(file_);
}

void TextSink::Emit(v1::Event event) {
  if (event.has_sample() && samples_ == Samples::kHide) return;
  if (!IsShown(event)) return;
  const std::string lines = Lines(event);
  const std::lock_guard<std::mutex> lock(mutex_);
  if (event.has_metrics()) {
    const bool last = event.metrics().step() == event.metrics().total_steps();
    if (!last && last_step_seconds_ >= 0 &&
        MonotonicSeconds() - last_step_seconds_ < kStepLineSeconds)
      return;
    last_step_seconds_ = MonotonicSeconds();
  }
  std::fprintf(file_, "%s\n", lines.c_str());
  std::fflush(file_);
}

}  // namespace trainerd::engine
