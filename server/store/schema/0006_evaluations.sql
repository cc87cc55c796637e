-- SPDX-License-Identifier: Apache-2.0
-- Remote evaluations: store/rows/evaluation_rows.h. Times are microseconds of Store::SteadyNow.
CREATE TABLE evaluations (
  number INTEGER PRIMARY KEY,          -- order of the triggers
  job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
  id TEXT NOT NULL,                    -- last part of the name
  entry TEXT NOT NULL,                 -- of evaluation.remote, or the suite of a request without one
  model TEXT NOT NULL,                 -- resource name of what is evaluated
  suite TEXT NOT NULL,
  step INTEGER NOT NULL,
  state INTEGER NOT NULL,              -- v1.Evaluation.State
  cause INTEGER NOT NULL,              -- v1.Evaluation.Trigger
  required INTEGER NOT NULL,
  trigger_time INTEGER NOT NULL,
  deadline INTEGER NOT NULL,
  allowed INTEGER NOT NULL,            -- from the trigger to the deadline
  lease TEXT NOT NULL,                 -- the newest; '' = none was given
  lease_end INTEGER NOT NULL,          -- 0 = none was given
  evaluation BLOB NOT NULL,            -- v1.Evaluation
  UNIQUE (job, id)
);
CREATE INDEX evaluations_by_job ON evaluations (job, number);
CREATE INDEX evaluations_by_entry ON evaluations (job, entry, cause, number);
CREATE INDEX evaluations_by_model ON evaluations (model, number);
-- The open ones: TRIGGERED (1) and LEASED (2).
CREATE INDEX evaluations_on_offer ON evaluations (suite, number) WHERE state IN (1, 2);
CREATE INDEX evaluations_by_deadline ON evaluations (deadline) WHERE state IN (1, 2);
