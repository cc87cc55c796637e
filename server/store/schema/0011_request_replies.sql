-- SPDX-License-Identifier: Apache-2.0
-- Replies are stored in the order of their requests, and request ids in an index of their own: inserting one no longer rewrites pages full of other replies.
-- The oldest are first, so that removing them needs no index by time.
CREATE TABLE request_replies (
  number INTEGER PRIMARY KEY,
  create_time INTEGER NOT NULL,
  request_id TEXT NOT NULL UNIQUE,
  method TEXT NOT NULL,
  body_hash BLOB NOT NULL,
  response BLOB NOT NULL
);
INSERT INTO request_replies (request_id, method, body_hash, response, create_time)
  SELECT request_id, method, body_hash, response, create_time FROM idempotency ORDER BY create_time;
DROP TABLE idempotency;
ALTER TABLE request_replies RENAME TO idempotency;
