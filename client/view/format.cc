// SPDX-License-Identifier: Apache-2.0
#include "client/view/format.h"

#include <cmath>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "proto/base/format.h"
#include "proto/base/time.h"
#include "proto/contract/job/job_state.h"

namespace trainerd::client {
namespace {

absl::string_view View(std::string_view text) { return {text.data(), text.size()}; }

std::string Colored(const char* code, std::string_view text, bool color) {
  return color ? absl::StrCat("\x1b[", code, "m", View(text), "\x1b[0m") : std::string(text);
}

// The desired state that a state already answers to.
bool IsOnItsWay(const v1::Job& job) {
  switch (job.desired_state()) {
    case v1::Job::DESIRED_PAUSE:
      return job.state() == v1::Job::PAUSING || job.state() == v1::Job::PAUSED ||
             job.wait_reason() == v1::Job::HELD;
    case v1::Job::DESIRED_STOP:
    case v1::Job::DESIRED_DISCARD:
    case v1::Job::DESIRED_FORCE:
      return job.state() == v1::Job::STOPPING;
    default:
      return job.state() != v1::Job::PAUSING && job.state() != v1::Job::PAUSED;
  }
}

const char* DesiredText(v1::Job::DesiredState desired) {
  switch (desired) {
    case v1::Job::DESIRED_PAUSE:
      return "pause asked for";
    case v1::Job::DESIRED_STOP:
      return "stop asked for";
    case v1::Job::DESIRED_DISCARD:
      return "stop --discard asked for";
    case v1::Job::DESIRED_FORCE:
      return "stop --force asked for";
    case v1::Job::DESIRED_RUN:
      return "resume asked for";
    default:
      return "";
  }
}

}  // namespace

std::string FormatCount(int64_t value) {
  const std::string digits = absl::StrCat(value < 0 ? -value : value);
  std::string result = value < 0 ? "-" : "";
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) result += ',';
    result += digits[i];
  }
  return result;
}

std::string FormatNumber(double value) {
  if (!std::isfinite(value)) return std::isnan(value) ? "NaN" : (value > 0 ? "inf" : "-inf");
  const double size = std::fabs(value);
  if (size != 0 && (size < 1e-3 || size >= 1e6)) return absl::StrFormat("%.3e", value);
  return absl::StrFormat(size >= 1000 ? "%.0f" : size >= 100 ? "%.1f" : "%.4f", value);
}

std::string FormatLearningRate(double value) {
  return value == 0 ? "0" : absl::StrFormat("%.2e", value);
}

std::string FormatPercent(double fraction) {
  return absl::StrFormat("%.0f %%", std::floor(fraction * 100));
}

std::string FormatTimestamp(const google::protobuf::Timestamp& time) {
  if (time.seconds() == 0 && time.nanos() == 0) return "-";
  return absl::FormatTime("%Y-%m-%dT%H:%M:%S%Ez", FromProto(time), absl::LocalTimeZone());
}

std::string FormatAge(const google::protobuf::Timestamp& time, absl::Time now) {
  if (time.seconds() == 0 && time.nanos() == 0) return "-";
  return absl::StrCat(FormatSpan(now - FromProto(time)), " ago");
}

std::string DescribeState(const v1::Job& job) {
  std::string text = StateName(job.state());
  if (job.deleting()) return absl::StrCat(text, " (being removed)");
  std::vector<std::string> notes;
  if (job.state() == v1::Job::QUEUED && job.wait_reason() != v1::Job::WAIT_REASON_UNSPECIFIED) {
    notes.push_back(v1::Job::WaitReason_Name(job.wait_reason()));
  }
  if (!IsTerminal(job.state()) && !IsOnItsWay(job) && *DesiredText(job.desired_state()) != '\0') {
    notes.push_back(DesiredText(job.desired_state()));
  }
  return notes.empty() ? text : absl::StrCat(text, " (", absl::StrJoin(notes, ", "), ")");
}

std::string ColorByState(v1::Job::State state, std::string_view text, bool color) {
  switch (state) {
    case v1::Job::RUNNING:
    case v1::Job::SUCCEEDED:
      return Colored("32", text, color);
    case v1::Job::FAILED:
      return Colored("31", text, color);
    case v1::Job::STARTING:
    case v1::Job::PAUSING:
    case v1::Job::PAUSED:
    case v1::Job::STOPPING:
      return Colored("33", text, color);
    default:
      return std::string(text);
  }
}

std::string Dim(std::string_view text, bool color) { return Colored("2", text, color); }
std::string Bold(std::string_view text, bool color) { return Colored("1", text, color); }
std::string Warn(std::string_view text, bool color) { return Colored("33", text, color); }
std::string Bad(std::string_view text, bool color) { return Colored("31", text, color); }

std::string JobId(std::string_view name) {
  constexpr std::string_view kPrefix = "jobs/";
  if (name.substr(0, kPrefix.size()) == kPrefix) name.remove_prefix(kPrefix.size());
  return std::string(name.substr(0, name.find('/')));
}

std::string LastSegment(std::string_view name) {
  const size_t slash = name.rfind('/');
  return std::string(slash == std::string_view::npos ? name : name.substr(slash + 1));
}

absl::StatusOr<absl::Duration> ParseSpan(std::string_view text) {
  double seconds = 0;
  absl::Duration span;
  if (absl::SimpleAtod(View(text), &seconds)) {
    span = absl::Seconds(seconds);
  } else if (!absl::ParseDuration(View(text), &span)) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", View(text), "\" is not a time span: write 30s, 5m, 1h30m or seconds"));
  }
  if (span < absl::ZeroDuration() || span == absl::InfiniteDuration()) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", View(text), "\" is not a time span that can pass: write 30s, 5m or 2h"));
  }
  return span;
}

absl::StatusOr<v1::Job::State> ParseState(std::string_view text) {
  v1::Job::State state = v1::Job::STATE_UNSPECIFIED;
  if (v1::Job::State_Parse(absl::AsciiStrToUpper(View(text)), &state) &&
      state != v1::Job::STATE_UNSPECIFIED)
    return state;
  std::vector<std::string> names;
  for (int value = v1::Job::State_MIN + 1; value <= v1::Job::State_MAX; ++value) {
    names.push_back(v1::Job::State_Name(static_cast<v1::Job::State>(value)));
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "\"", View(text), "\" is not a state; the states are ", absl::StrJoin(names, ", ")));
}

}  // namespace trainerd::client
