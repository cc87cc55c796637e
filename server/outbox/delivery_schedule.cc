// SPDX-License-Identifier: Apache-2.0
#include "server/outbox/delivery_schedule.h"

#include <algorithm>

namespace trainerd::server {

absl::Duration BackOff(int failures, absl::Duration first, absl::Duration max) {
  absl::Duration delay = first;
  for (int i = 1; i < failures && delay < max; ++i) delay *= 2;
  return std::min(delay, max);
}

NotificationRow AfterAttempt(NotificationRow row, const std::string& error, const Moment& moment) {
  ++row.attempts;
  row.last_error = error;
  row.end_time = moment.now;
  if (error.empty()) {
    row.state = v1::Notification::DELIVERED;
  } else if (moment.steady_now >= row.retry_until) {
    row.state = v1::Notification::DEAD;
  } else {
    row.due = std::min(moment.steady_now + BackOff(row.attempts), row.retry_until);
  }
  return row;
}

NotificationRow Revived(NotificationRow row, const Moment& moment) {
  row.state = v1::Notification::PENDING;
  row.attempts = 0;
  row.due = moment.steady_now;
  row.retry_until = moment.steady_now + kRetryFor;
  return row;
}

}  // namespace trainerd::server
