-- SPDX-License-Identifier: Apache-2.0
-- Owners, the order of the queue, and usage. Jobs of earlier builds were submitted by the daemon's user. The functions are those of store/message_functions.h.
ALTER TABLE jobs ADD COLUMN owner TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN queue_order INTEGER NOT NULL DEFAULT 0;   -- within one priority; the order of submission, unless the job was sent back
ALTER TABLE jobs ADD COLUMN queued_since INTEGER NOT NULL DEFAULT 0;  -- JobLedger.queued_since, 0 = absent
ALTER TABLE jobs ADD COLUMN usage BLOB NOT NULL DEFAULT x'';          -- internal.UsageRecord with the job's usage
UPDATE jobs SET job = owned_by_daemon(job), owner = daemon_user(), queue_order = number;
-- All that the search for the next job reads. Numbers: 0004_waits.sql.
DROP INDEX jobs_queue;
CREATE INDEX jobs_queue ON jobs (device, priority DESC, queue_order, number, queued_since, owner, not_before) WHERE state = 1 AND deleting = 0 AND wait_reason NOT IN (3, 7, 8, 9);
DROP INDEX jobs_by_state;
CREATE INDEX jobs_by_state ON jobs (state, deleting, owner);
-- What jobs have used, by day. Rows of a deleted job stay under a name that no job has.
CREATE TABLE usage_days (
  job TEXT NOT NULL,
  day INTEGER NOT NULL,                -- UTC, since 1970
  owner TEXT NOT NULL,
  usage BLOB NOT NULL,                 -- v1.Usage
  PRIMARY KEY (job, day)
) WITHOUT ROWID;
-- Labels of deleted jobs that have used something.
CREATE TABLE usage_labels (
  job TEXT PRIMARY KEY,                -- as in usage_days
  labels BLOB NOT NULL                 -- v1.JobConfig with its labels alone
) WITHOUT ROWID;
