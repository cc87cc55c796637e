// SPDX-License-Identifier: Apache-2.0
// absl::Time and absl::Duration ↔ protobuf's Timestamp and Duration; the monotonic clock.
#pragma once

#include <chrono>

#include "absl/time/time.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/timestamp.pb.h"

namespace trainerd {

// Nanoseconds are kept. Times outside of the years 1677 to 2262 saturate.
google::protobuf::Timestamp ToProto(absl::Time time);
google::protobuf::Duration ToProto(absl::Duration duration);
absl::Time FromProto(const google::protobuf::Timestamp& time);
absl::Duration FromProto(const google::protobuf::Duration& duration);
// The monotonic clock, for deadlines and durations: no change of the system's clock affects it. Its
// values compare only with each other, and only until the machine restarts.
absl::Time SteadyNow();
// For measuring: no change of the system's clock affects it.
inline double SecondsSince(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace trainerd
