// SPDX-License-Identifier: Apache-2.0
// When a notification is attempted, and when it is given up. Pure.
#pragma once

#include <string>

#include "absl/time/time.h"
#include "server/store/rows/notification_rows.h"

namespace trainerd::server {

// Attempts are repeated after 5 s, doubling to 1 h, for 72 h.
inline constexpr absl::Duration kFirstBackOff = absl::Seconds(5);
inline constexpr absl::Duration kMaxBackOff = absl::Hours(1);
inline constexpr absl::Duration kRetryFor = absl::Hours(72);
// Rows are removed this long after they ended.
inline constexpr absl::Duration kKeepDelivered = absl::Hours(24 * 7);
inline constexpr absl::Duration kKeepDead = absl::Hours(24 * 90);

// The delay after `failures` attempts in a row have failed; at least 1.
absl::Duration BackOff(int failures, absl::Duration first = kFirstBackOff,
                       absl::Duration max = kMaxBackOff);

// Both clocks at one moment: that of users, and Store::SteadyNow.
struct Moment {
  absl::Time now;
  absl::Time steady_now;
};

// The row after an attempt that ended with `error` (empty: delivered). The last attempt begins at
// `retry_until` or later.
NotificationRow AfterAttempt(NotificationRow row, const std::string& error, const Moment& moment);

// A DEAD row that is delivered again: as a new one, due at once, for another 72 h.
NotificationRow Revived(NotificationRow row, const Moment& moment);

}  // namespace trainerd::server
