// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/job/event_text.h"

#include <algorithm>
#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "proto/base/format.h"
#include "proto/contract/job/job_state.h"
#include "proto/contract/job/names.h"

namespace trainerd {

std::string PreferenceText(const v1::PreferenceMetrics& metrics) {
  return absl::StrCat("margin ", FormatNumber(metrics.margin()), "  accuracy ",
                      FormatPercent(metrics.accuracy()));
}

namespace {

std::string Describe(const v1::StateChanged& change) {
  std::string text =
      change.from_state() == change.to_state()
          ? StateName(change.to_state())
          : absl::StrCat(StateName(change.from_state()), " -> ", StateName(change.to_state()));
  if (change.from_state() == v1::Job::STATE_UNSPECIFIED) text = StateName(change.to_state());
  std::vector<std::string> notes;
  if (change.wait_reason() != v1::Job::WAIT_REASON_UNSPECIFIED)
    notes.push_back(v1::Job::WaitReason_Name(change.wait_reason()));
  if (change.from_state() == change.to_state())
    notes.push_back(
        absl::StrCat("requested: ", v1::Job::DesiredState_Name(change.desired_state())));
  if (!change.reason().empty()) notes.push_back(change.reason());
  if (!change.error().code().empty())
    notes.push_back(absl::StrCat(change.error().code(), ": ", change.error().message()));
  return notes.empty() ? text : absl::StrCat(text, " (", absl::StrJoin(notes, "; "), ")");
}

// "lr 0.0002", or of several groups "lr adamw 0.0002, muon 0.01".
std::string LearningRateText(const v1::Metrics& metrics) {
  const std::map<std::string, double> groups(metrics.learning_rates().begin(),
                                             metrics.learning_rates().end());
  if (groups.empty()) return absl::StrFormat("lr %.3g", metrics.learning_rate());
  return absl::StrCat("lr ", absl::StrJoin(groups, ", ", [](std::string* out, const auto& group) {
                        absl::StrAppendFormat(out, "%s %.3g", group.first, group.second);
                      }));
}

std::string Describe(const v1::Metrics& metrics) {
  std::string step = absl::StrCat("step ", metrics.step());
  if (metrics.has_total_steps()) absl::StrAppend(&step, "/", metrics.total_steps());
  std::vector<std::string> parts = {step};
  if (metrics.has_loss()) parts.push_back(absl::StrCat("loss ", FormatNumber(metrics.loss())));
  if (metrics.has_preference()) parts.push_back(PreferenceText(metrics.preference()));
  if (metrics.has_learning_rate()) parts.push_back(LearningRateText(metrics));
  if (metrics.has_grad_norm())
    parts.push_back(absl::StrCat("grad_norm ", FormatNumber(metrics.grad_norm())));
  parts.push_back(
      absl::StrCat("tokens ", metrics.tokens(), " (", metrics.target_tokens(), " target)"));
  if (metrics.has_tokens_per_second())
    parts.push_back(absl::StrFormat("tok/s %.0f", metrics.tokens_per_second()));
  if (metrics.has_step_seconds())
    parts.push_back(absl::StrCat("step_seconds ", FormatNumber(metrics.step_seconds())));
  if (metrics.has_eta_seconds())
    parts.push_back(absl::StrCat("eta ", FormatSpan(absl::Seconds(metrics.eta_seconds()))));
  if (metrics.merged() > 0) parts.push_back(absl::StrCat("merged ", metrics.merged()));
  return absl::StrJoin(parts, "  ");
}

std::string Describe(const v1::EvalResult& eval) {
  return absl::StrCat("step ", eval.step(), "  ", eval.set(), " loss ",
                      eval.has_loss() ? FormatNumber(eval.loss()) : "-", "  ",
                      Counted(eval.target_tokens(), "target token"), " in ",
                      FormatNumber(eval.seconds()), " s");
}

std::string Describe(const v1::CheckpointEvent& event) {
  std::string text = absl::StrCat(v1::CheckpointEvent::Kind_Name(event.kind()), "  ",
                                  CheckpointId(event.checkpoint().name()));
  if (event.checkpoint().size_bytes() > 0)
    absl::StrAppend(&text, "  ", FormatBytes(event.checkpoint().size_bytes()));
  if (event.has_write_time()) {
    const double seconds = event.write_time().seconds() + event.write_time().nanos() * 1e-9;
    absl::StrAppend(&text, "  written in ", FormatNumber(seconds), " s");
  }
  if (!event.message().empty()) absl::StrAppend(&text, "  ", event.message());
  return text;
}

std::string Describe(const v1::Job::Condition& condition) {
  std::string text = absl::StrCat(condition.type(), condition.active() ? " began" : " ended");
  for (const std::string& part : {condition.reason(), condition.message()}) {
    if (!part.empty()) absl::StrAppend(&text, ": ", part);
  }
  return text;
}

std::string Describe(const v1::Attempt& attempt) {
  if (attempt.end() == v1::Attempt::END_UNSPECIFIED) {
    std::string text = absl::StrCat("attempt ", attempt.number(), " began on ",
                                    absl::StrJoin(attempt.devices(), ", "));
    if (!attempt.resumed_from().empty())
      absl::StrAppend(&text, ", from ", CheckpointId(attempt.resumed_from()));
    return text;
  }
  std::string text =
      absl::StrCat("attempt ", attempt.number(), " ended: ", v1::Attempt::End_Name(attempt.end()));
  if (attempt.last_step() > 0)
    absl::StrAppend(
        &text, attempt.first_step() == attempt.last_step()
                   ? absl::StrCat(", step ", attempt.last_step())
                   : absl::StrCat(", steps ", attempt.first_step(), " to ", attempt.last_step()));
  // The message is that of the change of state that follows.
  if (!attempt.error().code().empty()) absl::StrAppend(&text, ", ", attempt.error().code());
  return text;
}

std::string Describe(const v1::StageEvent& stage) {
  std::string text = stage.stage();
  if (stage.finished()) {
    absl::StrAppend(&text, " finished");
    if (stage.has_seconds()) absl::StrAppend(&text, " in ", FormatNumber(stage.seconds()), " s");
  } else if (stage.has_fraction()) {
    absl::StrAppend(&text, " ", FormatPercent(stage.fraction()));
  } else {
    absl::StrAppend(&text, " began");
  }
  if (!stage.message().empty()) absl::StrAppend(&text, ": ", stage.message());
  return text;
}

std::string Describe(const v1::Alert& alert) {
  std::string text = absl::StrCat(alert.type(), alert.active() ? " raised" : " cleared",
                                  " at step ", alert.step());
  if (alert.severity() != v1::Alert::SEVERITY_UNSPECIFIED)
    absl::StrAppend(&text, " (", v1::Alert::Severity_Name(alert.severity()), ")");
  if (!alert.message().empty()) absl::StrAppend(&text, ": ", alert.message());
  return text;
}

std::string MetricText(const v1::Measurement& metric) {
  std::string text = absl::StrCat(metric.name(), " ", FormatNumber(metric.value()));
  if (metric.has_standard_error())
    absl::StrAppend(&text, " ± ", FormatNumber(metric.standard_error()));
  return text;
}

std::string Describe(const v1::Evaluation& evaluation) {
  constexpr int kShownMetrics = 4;
  std::vector<std::string> parts = {absl::StrCat(v1::Evaluation::State_Name(evaluation.state()),
                                                 "  ", EvaluationId(evaluation.name())),
                                    absl::StrCat("step ", evaluation.step()),
                                    absl::StrCat("suite ", evaluation.suite())};
  if (evaluation.state() == v1::Evaluation::LEASED)
    parts.push_back(absl::StrCat("by ", evaluation.evaluator()));
  for (int i = 0; i < std::min(evaluation.metrics_size(), kShownMetrics); ++i)
    parts.push_back(MetricText(evaluation.metrics(i)));
  if (evaluation.metrics_size() > kShownMetrics)
    parts.push_back(absl::StrCat("and ", evaluation.metrics_size() - kShownMetrics, " more"));
  if (!evaluation.error().empty()) parts.push_back(evaluation.error());
  return absl::StrJoin(parts, "  ");
}

std::string Describe(const v1::DataReport& report) {
  std::string text = absl::StrCat("trains on ", FormatCount(report.trained_examples()), " of ",
                                  Counted(report.examples(), "example"));
  if (report.rows() > 0) absl::StrAppend(&text, ", ", Counted(report.rows(), "sequence"));
  if (report.has_fill()) absl::StrAppend(&text, " filled to ", FormatPercent(report.fill()));
  if (report.has_total_steps()) absl::StrAppend(&text, ", ", Counted(report.total_steps(), "step"));
  return text;
}

std::string Describe(const v1::MaskingReport& report) {
  return absl::StrCat(FormatPercent(report.trained_fraction()), " of the tokens of ",
                      Counted(report.sampled_rows(), "sampled sequence"), " carry loss");
}

std::string Describe(const v1::RunSummary& summary) {
  std::string text =
      absl::StrCat(Counted(summary.steps(), "step"), ", ", Counted(summary.tokens(), "token"), " (",
                   FormatCount(summary.target_tokens()), " target) in ",
                   FormatSpan(absl::Seconds(summary.train_seconds())));
  if (summary.has_last_loss())
    absl::StrAppend(&text, ", last loss ", FormatNumber(summary.last_loss()));
  absl::StrAppend(&text, ", model in ",
                  summary.output_path().empty() ? summary.final_path() : summary.output_path());
  return text;
}

std::vector<std::string> Details(const v1::DataReport& report) {
  std::vector<std::string> details;
  for (const v1::DataReport::Finding& finding : report.findings()) {
    std::string text = absl::StrCat(finding.error() ? "error " : "", finding.code(), " x",
                                    finding.count(), ": ", finding.message());
    if (finding.first_places_size() > 0)
      absl::StrAppend(&text, " (first: ", finding.first_places(0), ")");
    details.push_back(std::move(text));
  }
  return details;
}

std::vector<std::string> Details(const v1::MaskingReport& report) {
  std::vector<std::string> details;
  for (const v1::MaskingReport::Check& check : report.checks()) {
    if (!check.passed())
      details.push_back(
          absl::StrCat(check.error() ? "error " : "warning ", check.name(), ": ", check.message()));
  }
  return details;
}

std::vector<std::string> Details(const v1::SampleText& sample) {
  std::vector<std::string> details = {absl::StrCat(sample.prompt(), " => ", sample.output())};
  if (!sample.expected().empty()) details.push_back(absl::StrCat("expected: ", sample.expected()));
  return details;
}

}  // namespace

std::string EventKind(const v1::Event& event) {
  const auto* field = v1::Event::descriptor()->FindFieldByNumber(event.body_case());
  return field == nullptr ? "" : field->name();
}

std::string EventSummary(const v1::Event& event) {
  switch (event.body_case()) {
    case v1::Event::kStateChanged:
      return Describe(event.state_changed());
    case v1::Event::kMetrics:
      return Describe(event.metrics());
    case v1::Event::kEval:
      return Describe(event.eval());
    case v1::Event::kCheckpoint:
      return Describe(event.checkpoint());
    case v1::Event::kConditionChanged:
      return Describe(event.condition_changed().condition());
    case v1::Event::kAttemptEvent:
      return Describe(event.attempt_event().attempt());
    case v1::Event::kSample:
      return absl::StrCat("step ", event.sample().step());
    case v1::Event::kNotice:
      return absl::StrCat(v1::Notice::Level_Name(event.notice().level()), " ",
                          event.notice().code(), ": ", event.notice().message());
    case v1::Event::kStage:
      return Describe(event.stage());
    case v1::Event::kAlert:
      return Describe(event.alert());
    case v1::Event::kDataReport:
      return Describe(event.data_report());
    case v1::Event::kMaskingReport:
      return Describe(event.masking_report());
    case v1::Event::kRunSummary:
      return Describe(event.run_summary());
    case v1::Event::kRemoteEval:
      return Describe(event.remote_eval().evaluation());
    case v1::Event::kJobUpdated:
      return absl::StrCat("changed ",
                          absl::StrJoin(event.job_updated().update_mask().paths(), ", "));
    case v1::Event::BODY_NOT_SET:
      break;
  }
  return "event of an unknown kind; this program is older than the daemon";
}

std::vector<std::string> EventDetails(const v1::Event& event) {
  switch (event.body_case()) {
    case v1::Event::kDataReport:
      return Details(event.data_report());
    case v1::Event::kMaskingReport:
      return Details(event.masking_report());
    case v1::Event::kSample:
      return Details(event.sample());
    default:
      return {};
  }
}

}  // namespace trainerd
