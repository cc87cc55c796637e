-- SPDX-License-Identifier: Apache-2.0
-- Retention: when time alone lets a checkpoint expire, and removals of files that a crash may interrupt. A job's list of kept checkpoints does not read the deleted ones.
ALTER TABLE checkpoints ADD COLUMN due INTEGER NOT NULL DEFAULT 0;  -- 0: never, or it was decided that it stays
CREATE INDEX checkpoints_kept ON checkpoints (job, number) WHERE deleted = 0;
CREATE INDEX checkpoints_due ON checkpoints (due) WHERE deleted = 0 AND due > 0;
-- Checkpoints whose rows are `deleted` and whose files may still exist: store/rows/retention_rows.h.
CREATE TABLE checkpoint_removals (
  job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
  id TEXT NOT NULL,
  PRIMARY KEY (job, id)
) WITHOUT ROWID;
