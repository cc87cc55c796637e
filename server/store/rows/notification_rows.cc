// SPDX-License-Identifier: Apache-2.0
#include "server/store/rows/notification_rows.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/base/status_macros.h"
#include "server/store/errors.h"

namespace trainerd::server {
namespace {

// The columns of kRow, in the order in which ReadRow reads them; the body follows them.
NotificationRow ReadRow(const Query& query) {
  NotificationRow row;
  int column = 0;
  row.number = query.Int(column++);
  row.state = static_cast<v1::Notification::State>(query.Int(column++));
  row.target = std::string(query.Text(column++));
  row.url = std::string(query.Text(column++));
  row.event = static_cast<v1::NotifyEvent>(query.Int(column++));
  row.job = std::string(query.Text(column++));
  row.event_seq = query.Int(column++);
  row.attempts = static_cast<int>(query.Int(column++));
  row.create_time = absl::FromUnixMicros(query.Int(column++));
  row.due = absl::FromUnixMicros(query.Int(column++));
  row.retry_until = absl::FromUnixMicros(query.Int(column++));
  row.end_time = absl::FromUnixMicros(query.Int(column++));
  row.last_error = std::string(query.Text(column++));
  row.body = std::string(query.Text(column++));
  return row;
}

// 0 = not ended.
int64_t EndMicros(const NotificationRow& row) {
  return row.state == v1::Notification::PENDING ? 0 : absl::ToUnixMicros(row.end_time);
}

}  // namespace

absl::Status InsertNotification(Connection& db, const NotificationRow& row) {
  Query query(db,
              "INSERT INTO notifications (state, target, url, event, job, event_seq, attempts, "
              "create_time, due, retry_until, end_time, last_error, body) VALUES (?, ?, ?, ?, ?, "
              "?, ?, ?, ?, ?, ?, ?, ?)");
  return query.Bind(row.state)
      .Bind(row.target)
      .Bind(row.url)
      .Bind(row.event)
      .Bind(row.job)
      .Bind(row.event_seq)
      .Bind(row.attempts)
      .Bind(absl::ToUnixMicros(row.create_time))
      .Bind(absl::ToUnixMicros(row.due))
      .Bind(absl::ToUnixMicros(row.retry_until))
      .Bind(EndMicros(row))
      .Bind(row.last_error)
      .Bind(row.body)
      .Run();
}

absl::Status StoreNotification(Connection& db, const NotificationRow& row) {
  Query query(db,
              "UPDATE notifications SET state = ?, attempts = ?, due = ?, retry_until = ?, "
              "end_time = ?, last_error = ?, body = CASE WHEN ? THEN '' ELSE body END WHERE number "
              "= ?");
  return query.Bind(row.state)
      .Bind(row.attempts)
      .Bind(absl::ToUnixMicros(row.due))
      .Bind(absl::ToUnixMicros(row.retry_until))
      .Bind(EndMicros(row))
      .Bind(row.last_error)
      .Bind(row.state == v1::Notification::DELIVERED ? 1 : 0)
      .Bind(row.number)
      .Run();
}

absl::Status StoreNotificationError(Connection& db, int64_t number, std::string_view error) {
  Query query(db, "UPDATE notifications SET last_error = ? WHERE number = ? AND last_error != ?");
  return query.Bind(error).Bind(number).Bind(error).Run();
}

absl::StatusOr<NotificationRow> LoadNotification(Connection& db, int64_t number) {
  Query query(db,
              "SELECT number, state, target, url, event, job, event_seq, attempts, create_time, "
              "due, retry_until, end_time, last_error, body FROM notifications WHERE number = ?");
  query.Bind(number);
  if (query.Step()) return ReadRow(query);
  RETURN_IF_ERROR(query.status());
  return ErrorWithReason(
      absl::StatusCode::kNotFound, "NOTIFICATION_NOT_FOUND",
      absl::StrCat("there is no notifications/", number, "; `trainctl notifications` lists them"));
}

absl::StatusOr<std::vector<NotificationRow>> LaneHeads(Connection& db) {
  std::vector<NotificationRow> heads;
  // One search of the index for each lane, however many rows it has.
  while (true) {
    Query query(db,
                "SELECT number, state, target, url, event, job, event_seq, attempts, create_time, "
                "due, retry_until, end_time, last_error, body FROM notifications WHERE state = 1 "
                "AND (target, url) > (?, ?) ORDER BY target, url, number LIMIT 1");
    query.Bind(heads.empty() ? "" : heads.back().target)
        .Bind(heads.empty() ? "" : heads.back().url);
    const bool found = query.Step();
    RETURN_IF_ERROR(query.status());
    if (!found) return heads;
    heads.push_back(ReadRow(query));
  }
}

absl::StatusOr<std::vector<NotificationRow>> ListNotificationRows(Connection& db,
                                                                  const NotificationQuery& query) {
  // A bit for each state; 0 = all.
  int64_t states = 0;
  for (const v1::Notification::State state : query.states) states |= int64_t{1} << state;
  std::vector<NotificationRow> rows;
  Query select(db,
               "SELECT number, state, target, url, event, job, event_seq, attempts, create_time, "
               "due, retry_until, end_time, last_error, '' FROM notifications WHERE (? = 0 OR "
               "number < ?) AND (? = 0 OR (? >> state) & 1) ORDER BY number DESC LIMIT ?");
  select.Bind(query.before_number)
      .Bind(query.before_number)
      .Bind(states)
      .Bind(states)
      .Bind(query.limit);
  while (select.Step()) rows.push_back(ReadRow(select));
  RETURN_IF_ERROR(select.status());
  return rows;
}

absl::StatusOr<bool> HasNotifications(Connection& db) {
  Query query(db, "SELECT 1 FROM notifications LIMIT 1");
  const bool found = query.Step();
  RETURN_IF_ERROR(query.status());
  return found;
}

absl::Status LimitNotificationTimes(Connection& db, absl::Time due, absl::Time retry_until) {
  Query query(db,
              "UPDATE notifications SET due = min(due, ?), retry_until = min(retry_until, ?) WHERE "
              "state = 1 AND (due > ? OR retry_until > ?)");
  const int64_t due_micros = absl::ToUnixMicros(due);
  const int64_t until_micros = absl::ToUnixMicros(retry_until);
  return query.Bind(due_micros).Bind(until_micros).Bind(due_micros).Bind(until_micros).Run();
}

absl::Status PruneNotifications(Connection& db, absl::Time delivered_before,
                                absl::Time dead_before) {
  Query query(db,
              "DELETE FROM notifications WHERE (state = 2 AND end_time < ?) OR (state = 3 AND "
              "end_time < ?)");
  return query.Bind(absl::ToUnixMicros(delivered_before))
      .Bind(absl::ToUnixMicros(dead_before))
      .Run();
}

}  // namespace trainerd::server
