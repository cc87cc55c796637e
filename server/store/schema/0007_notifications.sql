-- SPDX-License-Identifier: Apache-2.0
-- The outbox: one row for each event and target, written in the transaction of the event: store/rows/notification_rows.h.
CREATE TABLE notifications (
  number INTEGER PRIMARY KEY AUTOINCREMENT,  -- the webhook-id: no number is used again, also not after its row was removed
  state INTEGER NOT NULL,              -- v1.Notification.State
  target TEXT NOT NULL,                -- ServerConfig.notify[].name
  url TEXT NOT NULL,                   -- of the job; '' = the target's own address or command
  event INTEGER NOT NULL,              -- v1.NotifyEvent
  job TEXT NOT NULL,                   -- may have been deleted since
  event_seq INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  create_time INTEGER NOT NULL,
  due INTEGER NOT NULL,                -- of Store::SteadyNow: no attempt before
  retry_until INTEGER NOT NULL,        -- of Store::SteadyNow: an attempt that fails from then on is the last
  end_time INTEGER NOT NULL,           -- 0 while PENDING
  last_error TEXT NOT NULL,
  body TEXT NOT NULL                   -- JSON; '' once delivered
);
-- One lane for each target and url: the oldest row of a lane is delivered before the next one.
CREATE INDEX notifications_lanes ON notifications (target, url, number) WHERE state = 1;
CREATE INDEX notifications_ended ON notifications (state, end_time) WHERE state != 1;
