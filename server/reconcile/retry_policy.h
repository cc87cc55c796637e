// SPDX-License-Identifier: Apache-2.0
// How long a failed attempt waits before the next one. Pure.
#pragma once

#include "absl/time/time.h"

namespace trainerd::server {

struct BackoffOptions {
  absl::Duration first = absl::Seconds(5);
  absl::Duration max = absl::Minutes(5);
};

// Delay before retry number `retry` (from 1): first, doubling up to max, spread by ±20 % so that
// many jobs do not return at once. `unit_random` is in [0, 1).
absl::Duration BackoffDelay(const BackoffOptions& options, int retry, double unit_random);
// No delay is longer.
absl::Duration LongestDelay(const BackoffOptions& options);

}  // namespace trainerd::server
