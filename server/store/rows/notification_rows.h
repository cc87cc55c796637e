// SPDX-License-Identifier: Apache-2.0
// Rows of the table notifications, the outbox. The rows of one target and url are a lane: they are
// delivered one after the other, in the order of their numbers.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/store/sqlite.h"
#include "trainerd/v1/trainer.pb.h"

namespace trainerd::server {

struct NotificationRow {
  int64_t number = 0;
  v1::Notification::State state = v1::Notification::PENDING;
  std::string target;
  // Of the job; empty = the target's own address or command.
  std::string url;
  v1::NotifyEvent event = v1::NOTIFY_EVENT_UNSPECIFIED;
  // jobs/{id}
  std::string job;
  int64_t event_seq = 0;
  int attempts = 0;
  // By the system's clock.
  absl::Time create_time, end_time;
  // By Store::SteadyNow: no attempt before `due`; an attempt that fails from `retry_until` on is
  // the last one.
  absl::Time due, retry_until;
  std::string last_error;
  // JSON. Empty once delivered, and in a list.
  std::string body;
};

// `row.number` is not used: each row gets a number of its own.
absl::Status InsertNotification(Connection& db, const NotificationRow& row);
// Stores what an attempt or a retry changes: state, attempts, times and last_error. A DELIVERED row
// loses its body.
absl::Status StoreNotification(Connection& db, const NotificationRow& row);
// Stores an error that is not of an attempt.
absl::Status StoreNotificationError(Connection& db, int64_t number, std::string_view error);
// Errors: NotFound with reason NOTIFICATION_NOT_FOUND.
absl::StatusOr<NotificationRow> LoadNotification(Connection& db, int64_t number);
// The oldest PENDING row of each lane.
absl::StatusOr<std::vector<NotificationRow>> LaneHeads(Connection& db);

struct NotificationQuery {
  // Empty = all.
  std::vector<v1::Notification::State> states;
  // Only older ones; 0 = from the newest.
  int64_t before_number = 0;
  int limit = 100;
};
// Newest first, without bodies.
absl::StatusOr<std::vector<NotificationRow>> ListNotificationRows(Connection& db,
                                                                  const NotificationQuery& query);
absl::StatusOr<bool> HasNotifications(Connection& db);

// Moves the times of PENDING rows that are later than these: after a restart of the machine
// Store::SteadyNow can have gone back.
absl::Status LimitNotificationTimes(Connection& db, absl::Time due, absl::Time retry_until);
// Removes rows that ended before these times.
absl::Status PruneNotifications(Connection& db, absl::Time delivered_before,
                                absl::Time dead_before);

}  // namespace trainerd::server
