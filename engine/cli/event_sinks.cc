// SPDX-License-Identifier: Apache-2.0
#include "engine/cli/event_sinks.h"

#include <cerrno>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/checkpoint/folder_writer.h"
#include "engine/cli/spool_sink.h"
#include "proto/base/atomic_file.h"
#include "proto/base/format.h"
#include "proto/base/json_output.h"

namespace trainerd::engine {
namespace {

constexpr double kStepLineSeconds = 0.1;

double MonotonicSeconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::string MetricsText(const v1::Metrics& metrics) {
  std::string line = absl::StrCat("step ", metrics.step());
  if (metrics.has_total_steps()) absl::StrAppend(&line, "/", metrics.total_steps());
  if (metrics.has_loss()) absl::StrAppendFormat(&line, "  loss %.4f", metrics.loss());
  if (metrics.has_grad_norm())
    absl::StrAppendFormat(&line, "  grad_norm %.3g", metrics.grad_norm());
  if (metrics.has_learning_rate())
    absl::StrAppendFormat(&line, "  lr %.3g", metrics.learning_rate());
  if (metrics.has_tokens_per_second())
    absl::StrAppendFormat(&line, "  %.0f tok/s", metrics.tokens_per_second());
  if (metrics.has_step_seconds()) absl::StrAppendFormat(&line, "  %.3f s", metrics.step_seconds());
  if (metrics.has_eta_seconds())
    absl::StrAppendFormat(&line, "  eta %.0f s", metrics.eta_seconds());
  return line;
}

std::string StageText(const v1::StageEvent& stage) {
  if (stage.finished()) return absl::StrFormat("stage %s: %.2f s", stage.stage(), stage.seconds());
  if (stage.has_fraction())
    return absl::StrFormat("stage %s: %.0f %%", stage.stage(), 100 * stage.fraction());
  return absl::StrCat("stage ", stage.stage());
}

std::string CheckpointText(const v1::CheckpointEvent& event) {
  switch (event.kind()) {
    case v1::CheckpointEvent::PUBLISHED:
      return absl::StrFormat(
          "checkpoint %s: %s in %.2f s, verified", event.checkpoint().path(),
          FormatBytes(event.checkpoint().size_bytes()),
          static_cast<double>(event.write_time().seconds()) + 1e-9 * event.write_time().nanos());
    case v1::CheckpointEvent::FAILED:
      return absl::StrCat("checkpoint FAILED: ", event.message());
    default:
      return "";
  }
}

std::string DataText(const v1::DataReport& report) {
  std::string line =
      absl::StrCat("data: ", report.trained_examples(), " of ", report.examples(),
                   " conversations in ", report.rows(), " rows, ", report.target_tokens(),
                   " target tokens, ", report.total_steps(), " steps");
  for (const v1::DataReport::Finding& finding : report.findings()) {
    absl::StrAppend(&line, "\n  ", finding.code(), " x", finding.count(), ": ", finding.message(),
                    finding.first_places_size() > 0
                        ? absl::StrCat(" (first: ", finding.first_places(0), ")")
                        : "");
  }
  return line;
}

std::string MaskingText(const v1::MaskingReport& report) {
  std::string line = absl::StrFormat("masking: %.1f %% of the tokens are trained",
                                     100 * report.trained_fraction());
  for (const v1::MaskingReport::Check& check : report.checks()) {
    if (!check.passed())
      absl::StrAppend(&line, "\n  ", check.error() ? "FAULT " : "warning ", check.name(), ": ",
                      check.message());
  }
  return line;
}

}  // namespace

std::string EventText(const v1::Event& event) {
  switch (event.body_case()) {
    case v1::Event::kMetrics:
      return MetricsText(event.metrics());
    case v1::Event::kStage:
      return StageText(event.stage());
    case v1::Event::kCheckpoint:
      return CheckpointText(event.checkpoint());
    case v1::Event::kDataReport:
      return DataText(event.data_report());
    case v1::Event::kMaskingReport:
      return MaskingText(event.masking_report());
    case v1::Event::kEval:
      return absl::StrFormat("evaluation at step %d: loss %.4f over %d target tokens (%.1f s)",
                             event.eval().step(), event.eval().loss(), event.eval().target_tokens(),
                             event.eval().seconds());
    case v1::Event::kSample:
      return absl::StrCat("sample at step ", event.sample().step(), ": ", event.sample().prompt(),
                          "\n  → ", event.sample().output(),
                          event.sample().expected().empty()
                              ? ""
                              : absl::StrCat("\n  expected: ", event.sample().expected()));
    case v1::Event::kAlert:
      return absl::StrCat("alert ", event.alert().type(),
                          event.alert().active() ? " raised" : " cleared", " at step ",
                          event.alert().step(), ": ", event.alert().message());
    case v1::Event::kNotice:
      return absl::StrCat("notice ", event.notice().code(), ": ", event.notice().message());
    case v1::Event::kRunSummary:
      return absl::StrFormat("done: %d steps, %d tokens; final model in %s%s",
                             event.run_summary().steps(), event.run_summary().tokens(),
                             event.run_summary().final_path(),
                             event.run_summary().output_path().empty()
                                 ? ""
                                 : absl::StrCat(" and ", event.run_summary().output_path()));
    default:
      return "";
  }
}

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
  const std::string line = MessageToJsonLine(event);
  const std::lock_guard<std::mutex> lock(mutex_);
  std::fprintf(file_, "%s\n", line.c_str());
  std::fflush(file_);
}

void TextSink::Emit(v1::Event event) {
  if (event.has_sample() && samples_ == Samples::kHide) return;
  const std::string line = EventText(event);
  if (line.empty()) return;
  const std::lock_guard<std::mutex> lock(mutex_);
  if (event.has_metrics()) {
    const bool last = event.metrics().step() == event.metrics().total_steps();
    if (!last && last_step_seconds_ >= 0 &&
        MonotonicSeconds() - last_step_seconds_ < kStepLineSeconds)
      return;
    last_step_seconds_ = MonotonicSeconds();
  }
  std::fprintf(file_, "%s\n", line.c_str());
  std::fflush(file_);
}

}  // namespace trainerd::engine
