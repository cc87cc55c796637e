// SPDX-License-Identifier: Apache-2.0
#include "client/view/live_view.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/view/format.h"
#include "client/view/sparkline.h"
#include "client/view/text_width.h"
#include "proto/base/format.h"
#include "proto/base/plain_text.h"
#include "proto/base/time.h"
#include "proto/contract/job/event_text.h"
#include "proto/contract/job/job_state.h"
#include "proto/contract/job/names.h"

namespace trainerd::client {
namespace {

constexpr int kLabelColumns = 12;
constexpr int kMaxBarColumns = 40;
constexpr int kMinBarColumns = 8;
constexpr int kMaxCurveColumns = 60;
constexpr int kMinCurveColumns = 8;
constexpr char kGap[] = "   ";

// As many of `parts` as fit on a line. A narrow terminal shows the first parts complete instead of
// all parts cut.
std::string JoinFitting(const std::vector<std::string>& parts, int columns) {
  std::string line;
  for (const std::string& part : parts) {
    if (part.empty()) continue;
    const std::string longer = line.empty() ? part : line + kGap + part;
    if (!line.empty() && DisplayWidth(longer) > columns) break;
    line = longer;
  }
  return line;
}

std::string Labelled(const char* label, const std::string& text) {
  return text.empty() ? "" : PadRight(label, kLabelColumns) + text;
}

std::string Bar(double fraction, int columns, bool utf8) {
  const int full = static_cast<int>(std::floor(std::clamp(fraction, 0.0, 1.0) * columns));
  std::string bar;
  for (int i = 0; i < columns; ++i) bar += i < full ? (utf8 ? "█" : "#") : (utf8 ? "░" : "-");
  return utf8 ? bar : absl::StrCat("[", bar, "]");
}

std::string Header(const LiveJob& live, const ViewOptions& options) {
  const v1::Job& job = live.job;
  std::string attempt;
  if (job.attempt() > 0) attempt = absl::StrCat("attempt ", job.attempt());
  if (!job.devices().empty()) {
    absl::StrAppend(&attempt, attempt.empty() ? "" : " ", "on ",
                    PlainText(absl::StrJoin(job.devices(), ", ")));
  }
  const std::string name =
      PlainText(job.config().name().empty() ? job.name() : job.config().name());
  // The state matters more than the end of a long name.
  const std::string state = DescribeState(job);
  const int name_columns =
      std::max(8, options.columns - DisplayWidth(state) - static_cast<int>(sizeof(kGap)));
  return JoinFitting(
      {Bold(FitWidth(name, name_columns, options.utf8), options.color),
       ColorByState(job.state(), state, options.color), PlainText(job.name()), attempt},
      options.columns);
}

std::string ProgressLine(const LiveJob& live, const ViewOptions& options) {
  const v1::Progress& progress = live.job.progress();
  std::vector<std::string> parts;
  if (live.stage && live.stage->stage() != "Train") {
    std::string stage = PlainText(live.stage->stage());
    if (live.stage->has_fraction())
      absl::StrAppend(&stage, " ", FormatPercent(live.stage->fraction()));
    if (!live.stage->message().empty())
      absl::StrAppend(&stage, " ", PlainText(live.stage->message()));
    parts.push_back(stage);
  }
  const bool known = progress.has_total_steps() && progress.total_steps() > 0;
  const double fraction = known ? static_cast<double>(progress.step()) / progress.total_steps() : 0;
  if (known) {
    parts.push_back(FormatPercent(std::min(fraction, 1.0)));
    parts.push_back(
        absl::StrCat(FormatCount(progress.step()), "/", Counted(progress.total_steps(), "step")));
  } else if (progress.step() > 0) {
    parts.push_back(Counted(progress.step(), "step"));
  }
  if (HasEta(live.job)) {
    // The estimate is from the end of the last step, so the time since then is subtracted.
    const absl::Duration since = progress.has_last_step_time()
                                     ? options.now - FromProto(progress.last_step_time())
                                     : absl::ZeroDuration();
    parts.push_back(absl::StrCat("ETA ", FormatSpan(absl::Seconds(progress.eta_seconds()) -
                                                    std::max(since, absl::ZeroDuration()))));
  }
  if (progress.has_epoch()) parts.push_back(absl::StrFormat("epoch %.2f", progress.epoch()));
  const std::string text = absl::StrJoin(parts, kGap);
  const int frame = options.utf8 ? 0 : 2;
  const int room = options.columns - DisplayWidth(text) - static_cast<int>(sizeof(kGap)) - frame;
  if (!known || room < kMinBarColumns) return JoinFitting(parts, options.columns);
  return absl::StrCat(Bar(fraction, std::min(room, kMaxBarColumns), options.utf8), kGap, text);
}

std::string LossLine(const LiveJob& live, const ViewOptions& options) {
  const v1::Progress& progress = live.job.progress();
  if (!progress.has_loss() && live.losses.losses().empty()) return "";
  const std::string value = progress.has_loss() ? FormatNumber(progress.loss()) : "-";
  const std::string text = Labelled("loss", PadRight(value, 9));
  const int room = options.columns - DisplayWidth(text);
  if (room < kMinCurveColumns || live.losses.losses().size() < 2) return text;
  return text + Sparkline(live.losses.losses(), std::min(room, kMaxCurveColumns), options.utf8);
}

std::string RatesLine(const LiveJob& live, const ViewOptions& options) {
  const v1::Progress& progress = live.job.progress();
  std::vector<std::string> parts;
  if (progress.has_tokens_per_second()) {
    parts.push_back(
        absl::StrCat(FormatCount(std::llround(progress.tokens_per_second())), " tok/s"));
  }
  if (progress.has_learning_rate())
    parts.push_back(absl::StrCat("lr ", FormatLearningRate(progress.learning_rate())));
  if (live.metrics && live.metrics->has_grad_norm())
    parts.push_back(absl::StrCat("grad norm ", FormatNumber(live.metrics->grad_norm())));
  if (live.metrics && live.metrics->has_step_seconds())
    parts.push_back(absl::StrCat(FormatNumber(live.metrics->step_seconds()), " s/step"));
  if (live.metrics && live.metrics->has_memory_bytes()) {
    std::string memory = absl::StrCat("memory ", FormatBytes(live.metrics->memory_bytes()));
    if (live.metrics->has_memory_peak_bytes())
      absl::StrAppend(&memory, " (peak ", FormatBytes(live.metrics->memory_peak_bytes()), ")");
    parts.push_back(memory);
  }
  return Labelled("rates", JoinFitting(parts, options.columns - kLabelColumns));
}

std::string PreferenceLine(const LiveJob& live) {
  if (!live.metrics || !live.metrics->has_preference()) return "";
  return Labelled("preference", PreferenceText(live.metrics->preference()));
}

std::string ValidationLine(const LiveJob& live) {
  if (!live.last_eval || !live.last_eval->has_loss()) {
    const v1::Progress& progress = live.job.progress();
    return progress.has_validation_loss()
               ? Labelled("validation", FormatNumber(progress.validation_loss()))
               : "";
  }
  std::string text =
      absl::StrCat(FormatNumber(live.last_eval->loss()), " at step ", live.last_eval->step());
  if (live.first_eval->has_loss() && live.first_eval->step() != live.last_eval->step()) {
    absl::StrAppend(&text, " (", FormatNumber(live.first_eval->loss()), " at step ",
                    live.first_eval->step(), ")");
  }
  return Labelled("validation", text);
}

std::string CheckpointLine(const LiveJob& live, const ViewOptions& options) {
  if (live.checkpoint) {
    const v1::Checkpoint& checkpoint = live.checkpoint->checkpoint().checkpoint();
    std::string text = absl::StrCat(CheckpointId(checkpoint.name()), ", ",
                                    FormatAge(live.checkpoint->time(), options.now));
    if (checkpoint.size_bytes() > 0)
      absl::StrAppend(&text, ", ", FormatBytes(checkpoint.size_bytes()));
    return Labelled("checkpoint", PlainText(text));
  }
  if (!live.job.latest_checkpoint().empty())
    return Labelled("checkpoint", PlainText(CheckpointId(live.job.latest_checkpoint())));
  return IsActive(live.job.state()) ? Labelled("checkpoint", "none yet") : "";
}

std::vector<std::string> ProblemLines(const LiveJob& live, const ViewOptions& options) {
  std::vector<std::string> lines;
  const v1::Job& job = live.job;
  if (!job.error().code().empty() && job.state() != v1::Job::SUCCEEDED) {
    lines.push_back(Bad(
        Labelled("error", PlainText(absl::StrCat(job.error().code(), ": ", job.error().message()))),
        options.color));
  }
  for (const auto& condition : job.conditions()) {
    if (condition.active()) {
      lines.push_back(Warn(Labelled("condition", PlainText(absl::StrCat(condition.type(), ": ",
                                                                        condition.message()))),
                           options.color));
    }
  }
  for (const auto& [type, alert] : live.alerts) {
    const std::string text = Labelled(
        "alert",
        PlainText(absl::StrCat(type, " since step ", alert.step(), ": ", alert.message())));
    lines.push_back(alert.severity() == v1::Alert::CRITICAL ? Bad(text, options.color)
                                                            : Warn(text, options.color));
  }
  if (!options.connection.empty())
    lines.push_back(Warn(Labelled("connection", PlainText(options.connection)), options.color));
  return lines;
}

std::vector<std::string> Fit(std::vector<std::string> lines, const ViewOptions& options) {
  std::erase_if(lines, [](const std::string& line) { return line.empty(); });
  if (static_cast<int>(lines.size()) > options.rows) lines.resize(std::max(0, options.rows));
  for (std::string& line : lines) line = FitWidth(line, options.columns, options.utf8);
  return lines;
}

std::string JobRow(const LiveJob& live, const ViewOptions& options) {
  const v1::Progress& progress = live.job.progress();
  std::string steps = FormatCount(progress.step());
  std::string share;
  if (progress.has_total_steps() && progress.total_steps() > 0) {
    absl::StrAppend(&steps, "/", FormatCount(progress.total_steps()));
    share =
        FormatPercent(std::min(1.0, static_cast<double>(progress.step()) / progress.total_steps()));
  }
  const std::string id = PadRight(PlainText(JobId(live.job.name())), 14);
  const std::string state =
      ColorByState(live.job.state(), PadRight(DescribeState(live.job), 20), options.color);
  return JoinFitting(
      {id + state, PadLeft(share, 5), PadRight(steps, 15),
       progress.has_loss() ? absl::StrCat("loss ", PadRight(FormatNumber(progress.loss()), 8))
                           : PadRight("", 13),
       PlainText(live.job.config().name())},
      options.columns);
}

}  // namespace

std::vector<std::string> RenderJob(const LiveJob& live, const ViewOptions& options) {
  std::vector<std::string> lines = {Header(live, options), ProgressLine(live, options)};
  // Problems come before the figures, so that a terminal with few lines shows them.
  for (std::string& line : ProblemLines(live, options)) lines.push_back(std::move(line));
  const std::string waits = WaitsFor(live.job, options.now);
  if (!waits.empty()) lines.push_back(Labelled("waiting", PlainText("the job " + waits)));
  lines.push_back(LossLine(live, options));
  lines.push_back(RatesLine(live, options));
  lines.push_back(PreferenceLine(live));
  lines.push_back(ValidationLine(live));
  lines.push_back(CheckpointLine(live, options));
  if (IsActive(live.job.state())) {
    lines.push_back(Dim("Ctrl-C leaves the job running.", options.color));
  } else if (!IsTerminal(live.job.state())) {
    lines.push_back(Dim("Ctrl-C stops watching; the job keeps waiting.", options.color));
  }
  return Fit(std::move(lines), options);
}

std::vector<std::string> RenderJobs(const LiveState& state, const ViewOptions& options) {
  std::vector<const LiveJob*> jobs;
  for (const auto& [name, live] : state.jobs()) jobs.push_back(&live);
  std::stable_sort(jobs.begin(), jobs.end(), [](const LiveJob* a, const LiveJob* b) {
    const bool a_ended = IsTerminal(a->job.state());
    const bool b_ended = IsTerminal(b->job.state());
    if (a_ended != b_ended) return b_ended;
    return FromProto(a->job.create_time()) > FromProto(b->job.create_time());
  });
  std::vector<std::string> lines;
  if (!options.connection.empty())
    lines.push_back(Warn(Labelled("connection", PlainText(options.connection)), options.color));
  if (jobs.empty()) lines.push_back("no jobs yet");
  for (const LiveJob* live : jobs) lines.push_back(JobRow(*live, options));
  return Fit(std::move(lines), options);
}

}  // namespace trainerd::client
