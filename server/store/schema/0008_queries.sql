-- SPDX-License-Identifier: Apache-2.0
-- What lists of jobs search and sort by: labels, and one narrow index with the other columns. The functions are those of store/message_functions.h.
ALTER TABLE jobs ADD COLUMN name TEXT NOT NULL DEFAULT '';            -- config.name
ALTER TABLE jobs ADD COLUMN create_time INTEGER NOT NULL DEFAULT 0;
UPDATE jobs SET name = job_name(job), create_time = job_create_time(job);
CREATE INDEX jobs_listed ON jobs (number, state, create_time, end_time, priority, name);
CREATE TABLE job_labels (
  number INTEGER NOT NULL,             -- of the job
  key TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (number, key)
) WITHOUT ROWID;
CREATE INDEX job_labels_by_value ON job_labels (key, value, number);
INSERT INTO job_labels SELECT jobs.number, label.key, label.value FROM jobs, json_each(labels_json(job)) AS label;
-- Labels that a job had before an event changed them, so that a watcher with a label selector can continue from any cursor: store/rows/label_rows.h.
CREATE TABLE label_changes (
  job TEXT NOT NULL,                   -- id; of a deleted job, too
  seq INTEGER NOT NULL,                -- of the event
  labels BLOB NOT NULL,                -- v1.JobConfig with its labels alone
  PRIMARY KEY (job, seq)
) WITHOUT ROWID;
-- Metrics as columns, in place of their events: store/rows/metric_rows.h.
CREATE TABLE metric_jobs (
  job INTEGER PRIMARY KEY REFERENCES jobs (number) ON DELETE CASCADE,
  seq INTEGER NOT NULL,                -- the events of the job up to this one are in metric_chunks
  complete INTEGER NOT NULL,           -- the job has ended, and so are all its metrics
  names TEXT NOT NULL                  -- metric names, one per line
);
CREATE TABLE metric_chunks (
  number INTEGER PRIMARY KEY,          -- order of the log
  job INTEGER NOT NULL REFERENCES jobs (number) ON DELETE CASCADE,
  attempt INTEGER NOT NULL,
  first_step INTEGER NOT NULL,
  last_step INTEGER NOT NULL,
  first_trained INTEGER NOT NULL,      -- first step of Metrics; 0 = none
  coarse BLOB NOT NULL,                -- internal.MetricColumns of width 256, 16 and 1; what is read most comes first
  medium BLOB NOT NULL,
  fine BLOB NOT NULL
);
CREATE INDEX metric_chunks_by_job ON metric_chunks (job, number);
