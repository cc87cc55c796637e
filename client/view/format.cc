// SPDX-License-Identifier: Apache-2.0
#include "client/view/format.h"

#include <array>
#include <cmath>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "proto/base/format.h"
#include "proto/base/time.h"
#include "proto/contract/config/enum_words.h"
#include "proto/contract/job/job_state.h"
#include "proto/contract/job/names.h"

namespace trainerd::client {
namespace {

absl::string_view View(std::string_view text) { return {text.data(), text.size()}; }

std::string Colored(const char* code, std::string_view text, bool color) {
  return color ? absl::StrCat("\x1b[", code, "m", View(text), "\x1b[0m") : std::string(text);
}

// Whether the state already follows from the desired state.
bool FollowsDesiredState(const v1::Job& job) {
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
      return "pause requested";
    case v1::Job::DESIRED_STOP:
      return "stop requested";
    case v1::Job::DESIRED_DISCARD:
      return "stop --discard requested";
    case v1::Job::DESIRED_FORCE:
      return "stop --force requested";
    case v1::Job::DESIRED_RUN:
      return "resume requested";
    default:
      return "";
  }
}

}  // namespace

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
  if (job.deleting()) return absl::StrCat(text, " (being deleted)");
  std::vector<std::string> notes;
  if (job.state() == v1::Job::QUEUED && job.wait_reason() != v1::Job::WAIT_REASON_UNSPECIFIED) {
    notes.push_back(v1::Job::WaitReason_Name(job.wait_reason()));
  }
  if (!IsTerminal(job.state()) && !FollowsDesiredState(job) &&
      *DesiredText(job.desired_state()) != '\0') {
    notes.push_back(DesiredText(job.desired_state()));
  }
  return notes.empty() ? text : absl::StrCat(text, " (", absl::StrJoin(notes, ", "), ")");
}

bool WaitsForResume(const v1::Job& job) {
  if (job.desired_state() == v1::Job::DESIRED_RUN) return false;
  return job.state() == v1::Job::PAUSED ||
         (job.state() == v1::Job::QUEUED && job.wait_reason() == v1::Job::HELD);
}

std::string WaitsFor(const v1::Job& job, absl::Time now) {
  if (WaitsForResume(job))
    return absl::StrCat("waits for `trainctl resume ", JobId(job.name()), "`");
  if (job.state() != v1::Job::QUEUED) return "";
  switch (job.wait_reason()) {
    case v1::Job::RESOURCES:
      return "waits for a free device";
    case v1::Job::BACKOFF:
      if (FromProto(job.not_before()) <= now) return "waits before its next attempt";
      return absl::StrCat("waits ", FormatSpan(FromProto(job.not_before()) - now),
                          " before its next attempt");
    case v1::Job::NOT_BEFORE:
      return absl::StrCat("waits until ", FormatTimestamp(job.not_before()));
    case v1::Job::DEPENDENCY:
      return absl::StrCat("waits for ",
                          absl::StrJoin(job.config().depends_on(), ", ",
                                        [](std::string* out, const v1::DependencyConfig& on) {
                                          absl::StrAppend(out, on.job(), " (",
                                                          EnumText(on.condition()), ")");
                                        }));
    case v1::Job::EXECUTOR_UNREACHABLE:
      for (const v1::Job::Condition& condition : job.conditions()) {
        if (condition.active()) return absl::StrCat("waits: ", condition.message());
      }
      return "waits until this machine can run it";
    case v1::Job::QUOTA:
      return "waits because as many jobs run as the daemon's quotas allow";
    case v1::Job::DRAIN:
      return "waits because the daemon drains, until `trainctl undrain` or a restart of the daemon";
    case v1::Job::PREEMPTED:
      return "was sent back to the queue and waits for a free device";
    case v1::Job::DISK:
      for (const v1::Job::Condition& condition : job.conditions()) {
        if (condition.active() && condition.type() == "DiskLow")
          return absl::StrCat("waits for space: ", condition.message());
      }
      return "waits for space";
    default:
      return "";
  }
}

std::string Continues(const v1::Job& job, absl::Time now) {
  switch (job.state()) {
    case v1::Job::STARTING:
    case v1::Job::RUNNING:
      return "keeps running";
    case v1::Job::PAUSING:
      return "keeps running until it is paused";
    case v1::Job::STOPPING:
      return "keeps running until it has stopped";
    case v1::Job::QUEUED:
    case v1::Job::PAUSED: {
      const std::string waits = WaitsFor(job, now);
      return absl::StrCat("is ", StateName(job.state()), waits.empty() ? "" : " and ", waits);
    }
    default:
      return absl::StrCat("has ended as ", StateName(job.state()));
  }
}

std::string FormatRunTime(const v1::Job& job, absl::Time now) {
  if (job.start_time().seconds() == 0) return "-";
  if (IsTerminal(job.state()))
    return FormatSpan(FromProto(job.end_time()) - FromProto(job.start_time()));
  return IsActive(job.state()) ? FormatSpan(now - FromProto(job.start_time())) : "-";
}

bool HasEta(const v1::Job& job) {
  return job.state() == v1::Job::RUNNING && job.progress().has_eta_seconds();
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

absl::StatusOr<absl::Duration> ParseSpan(std::string_view text) {
  double seconds = 0;
  absl::Duration span;
  if (absl::SimpleAtod(View(text), &seconds)) {
    span = absl::Seconds(seconds);
  } else if (!absl::ParseDuration(View(text), &span)) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", View(text), "\" is not a time span; write 30s, 5m, 1h30m or seconds"));
  }
  if (span < absl::ZeroDuration() || span == absl::InfiniteDuration()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "\"", View(text), "\" is not a finite, positive time span; write 30s, 5m or 2h"));
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
