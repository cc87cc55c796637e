-- SPDX-License-Identifier: Apache-2.0
-- The queue without the jobs that cannot start: HELD (3), DISK (7), NOT_BEFORE (8), DEPENDENCY (9). Any number of them does not slow the search for the next job.
DROP INDEX jobs_queue;
CREATE INDEX jobs_queue ON jobs (device, priority DESC, number) WHERE state = 1 AND deleting = 0 AND wait_reason NOT IN (3, 7, 8, 9);
-- What jobs still wait for, and the jobs of which those that wait have not heard yet: store/rows/dependency_rows.h.
CREATE TABLE dependencies (
  on_job TEXT NOT NULL,
  condition INTEGER NOT NULL,          -- v1.DependencyConfig.Condition
  job TEXT NOT NULL,                   -- the one that waits
  PRIMARY KEY (on_job, condition, job)
) WITHOUT ROWID;
CREATE TABLE dependency_news (on_job TEXT PRIMARY KEY) WITHOUT ROWID;
