// SPDX-License-Identifier: Apache-2.0
// Times and states as human-readable text, and the reverse for command-line values. Scripts use -o
// json instead.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "google/protobuf/timestamp.pb.h"
#include "trainerd/v1/job.pb.h"

namespace trainerd::client {

// Local date and time to the second, with the offset from UTC; "-" for an absent (zero) timestamp.
std::string FormatTimestamp(const google::protobuf::Timestamp& time);
// "5m ago"; "-" for an absent timestamp.
std::string FormatAge(const google::protobuf::Timestamp& time, absl::Time now);

// "RUNNING"; "QUEUED (RESOURCES)"; "RUNNING (pause requested)" until the state follows from the
// desired state.
std::string DescribeState(const v1::Job& job);
// What a job that does not run waits for, and what to do: "waits for `trainctl resume ID`"; "" if
// it waits for nothing.
std::string WaitsFor(const v1::Job& job, absl::Time now);
// What a job does after a watch of it has ended: "keeps running", "is PAUSED and waits for …".
std::string Continues(const v1::Job& job, absl::Time now);
// Whether the job waits for `trainctl resume`.
bool WaitsForResume(const v1::Job& job);
// Time from the first step to the end, or to `now` while an attempt runs; "-" before the first step
// and while the job waits.
std::string FormatRunTime(const v1::Job& job, absl::Time now);
// Whether progress.eta_seconds still holds: only while the job trains.
bool HasEta(const v1::Job& job);
// `text` in the ANSI color of the state, or `text` itself without color.
std::string ColorByState(v1::Job::State state, std::string_view text, bool color);
std::string Dim(std::string_view text, bool color);
std::string Bold(std::string_view text, bool color);
std::string Warn(std::string_view text, bool color);
std::string Bad(std::string_view text, bool color);

// "30s", "5m", "2h", "1h30m", or seconds as a plain number. Errors: InvalidArgument.
absl::StatusOr<absl::Duration> ParseSpan(std::string_view text);
// A state by its name in any case. Errors: InvalidArgument lists the names.
absl::StatusOr<v1::Job::State> ParseState(std::string_view text);

}  // namespace trainerd::client
