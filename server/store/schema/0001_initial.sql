-- SPDX-License-Identifier: Apache-2.0
-- First schema. Messages are stored serialized; columns beside them are what queries need. Times are microseconds since 1970, UTC.
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;

CREATE TABLE jobs (
  number INTEGER PRIMARY KEY,          -- order of submission, and of the queue within one priority
  id TEXT NOT NULL UNIQUE,
  state INTEGER NOT NULL,
  wait_reason INTEGER NOT NULL,
  priority INTEGER NOT NULL,
  not_before INTEGER NOT NULL,
  device TEXT NOT NULL,                -- as the configuration asks for it: auto, cpu, cuda:N
  deleting INTEGER NOT NULL,
  revision INTEGER NOT NULL,           -- the etag
  end_time INTEGER NOT NULL,           -- 0 while not terminal
  pruned_seq INTEGER NOT NULL DEFAULT 0,  -- events up to here may have been removed
  output_path TEXT NOT NULL,
  base_job TEXT NOT NULL,              -- job whose checkpoint it starts from
  job BLOB NOT NULL,                   -- v1.Job without progress
  progress BLOB NOT NULL,              -- v1.Progress
  ledger BLOB NOT NULL                 -- internal.JobLedger
);
CREATE INDEX jobs_by_state ON jobs (state, deleting);
CREATE INDEX jobs_queue ON jobs (device, priority DESC, number) WHERE state = 1 AND deleting = 0;
CREATE INDEX jobs_waiting ON jobs (wait_reason, not_before, number) WHERE state = 1 AND deleting = 0;
CREATE INDEX jobs_deleting ON jobs (id) WHERE deleting = 1;
CREATE INDEX jobs_output ON jobs (output_path) WHERE output_path != '';
CREATE INDEX jobs_base ON jobs (base_job) WHERE base_job != '';

CREATE TABLE attempts (
  job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
  number INTEGER NOT NULL,
  open INTEGER NOT NULL,
  attempt BLOB NOT NULL,               -- v1.Attempt
  PRIMARY KEY (job, number)
) WITHOUT ROWID;
CREATE UNIQUE INDEX attempts_open ON attempts (job) WHERE open = 1;  -- at most one live attempt per job

CREATE TABLE spool_positions (
  job TEXT NOT NULL,
  attempt INTEGER NOT NULL,
  segment INTEGER NOT NULL,
  offset INTEGER NOT NULL,
  PRIMARY KEY (job, attempt),
  FOREIGN KEY (job, attempt) REFERENCES attempts (job, number) ON DELETE CASCADE
) WITHOUT ROWID;

CREATE TABLE checkpoints (
  number INTEGER PRIMARY KEY,          -- order of publication
  job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
  id TEXT NOT NULL,
  step INTEGER NOT NULL,
  verified INTEGER NOT NULL,
  superseded INTEGER NOT NULL,
  deleted INTEGER NOT NULL,
  checkpoint BLOB NOT NULL,            -- v1.Checkpoint
  UNIQUE (job, id)
);

CREATE TABLE events (
  seq INTEGER PRIMARY KEY,
  change INTEGER NOT NULL,             -- seq of the first event of the change that wrote it: a change is delivered whole
  job TEXT NOT NULL,
  type INTEGER NOT NULL,               -- field number of Event.body
  flags INTEGER NOT NULL,              -- store/event_record.h
  event BLOB NOT NULL                  -- v1.Event
);
CREATE INDEX events_by_job ON events (job, seq);

CREATE TABLE idempotency (
  request_id TEXT PRIMARY KEY,
  method TEXT NOT NULL,
  body_hash BLOB NOT NULL,
  response BLOB NOT NULL,
  create_time INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX idempotency_by_time ON idempotency (create_time);

CREATE TABLE audit (
  number INTEGER PRIMARY KEY,
  time INTEGER NOT NULL,
  method TEXT NOT NULL,
  job TEXT NOT NULL,
  peer TEXT NOT NULL,
  detail TEXT NOT NULL
);
