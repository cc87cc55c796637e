-- SPDX-License-Identifier: Apache-2.0
-- The last removed event of each type, so that a cursor expires only for those who request that type. Earlier builds kept one number for the types that expire: 11 metrics,
-- 16 sample, 17 notice.
CREATE TABLE lost_events (
  job TEXT NOT NULL,                   -- '' = of any job
  type INTEGER NOT NULL,               -- field number of Event.body
  seq INTEGER NOT NULL,
  PRIMARY KEY (job, type)
) WITHOUT ROWID;
INSERT INTO lost_events SELECT '', types.column1, value FROM meta, (VALUES (11), (16), (17)) AS types WHERE key = 'pruned_through';
INSERT INTO lost_events SELECT id, types.column1, pruned_seq FROM jobs, (VALUES (11), (16), (17)) AS types WHERE pruned_seq > 1;
DELETE FROM meta WHERE key = 'pruned_through';
-- It only marks the jobs whose events have expired.
UPDATE jobs SET pruned_seq = 1 WHERE pruned_seq > 1;
