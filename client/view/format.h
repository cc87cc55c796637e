// SPDX-License-Identifier: Apache-2.0
// Numbers, times and states as people read them. Nothing here is parsed again: scripts take -o
// json.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "google/protobuf/timestamp.pb.h"
#include "trainerd/v1/job.pb.h"

namespace trainerd::client {

std::string FormatCount(int64_t value);        // 12,345
std::string FormatNumber(double value);        // four significant digits
std::string FormatLearningRate(double value);  // 1.8e-04
std::string FormatPercent(double fraction);    // 43 %
// Local date and time to the second, with the offset from UTC; "-" for an absent (zero) timestamp.
std::string FormatTimestamp(const google::protobuf::Timestamp& time);
// "5m ago"; "-" for an absent timestamp.
std::string FormatAge(const google::protobuf::Timestamp& time, absl::Time now);

// "RUNNING"; "QUEUED (RESOURCES)"; "RUNNING (pause asked for)" while what is wanted has not become
// the state yet.
std::string DescribeState(const v1::Job& job);
// ANSI colour around `text` by the state, or `text` itself without colour.
std::string ColorByState(v1::Job::State state, std::string_view text, bool color);
std::string Dim(std::string_view text, bool color);
std::string Bold(std::string_view text, bool color);
std::string Warn(std::string_view text, bool color);
std::string Bad(std::string_view text, bool color);

// "4f1c…" of "jobs/4f1c…" and of "jobs/4f1c…/checkpoints/x".
std::string JobId(std::string_view name);
// Last part of a resource name.
std::string LastSegment(std::string_view name);

// "30s", "5m", "2h", "1h30m", or seconds as a plain number. Errors: InvalidArgument names the text
// and the forms.
absl::StatusOr<absl::Duration> ParseSpan(std::string_view text);
// A state by its name in any case. Errors: InvalidArgument lists the names.
absl::StatusOr<v1::Job::State> ParseState(std::string_view text);

}  // namespace trainerd::client
