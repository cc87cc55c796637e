-- SPDX-License-Identifier: Apache-2.0
-- Tokens, and the audit log as a hash chain. The functions are those of store/message_functions.h and store/rows/audit_rows.h.
CREATE TABLE tokens (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  hash BLOB NOT NULL UNIQUE,               -- SHA-256 of the secret
  principal TEXT NOT NULL,
  role INTEGER NOT NULL,
  create_time INTEGER NOT NULL,
  expire_time INTEGER NOT NULL,            -- 0 = never
  revoke_time INTEGER NOT NULL DEFAULT 0,  -- 0 = not revoked
  last_use_time INTEGER NOT NULL DEFAULT 0
);
-- Before, all callers were the daemon's user, and the words for commands differed from the RPCs.
ALTER TABLE audit RENAME TO old_audit;
CREATE TABLE audit (
  seq INTEGER PRIMARY KEY,
  time INTEGER NOT NULL,
  principal TEXT NOT NULL,
  peer TEXT NOT NULL,
  method TEXT NOT NULL,
  resource TEXT NOT NULL,
  request_id TEXT NOT NULL,
  code INTEGER NOT NULL,
  detail TEXT NOT NULL,                    -- not part of the hash
  hash BLOB NOT NULL
);
-- One row: the newest removed row of audit.
CREATE TABLE audit_start (seq INTEGER PRIMARY KEY, hash BLOB NOT NULL);
INSERT INTO audit_start VALUES (0, zeroblob(32));
INSERT INTO audit SELECT row_number() OVER (ORDER BY number), time, daemon_user(), peer,
    qualified_method(CASE WHEN method LIKE 'pause%' THEN 'Pause' WHEN method LIKE 'resume%' THEN 'Resume' WHEN method LIKE 'stop%' THEN 'Stop' ELSE method END),
    CASE WHEN job != '' THEN 'jobs/' || job WHEN detail LIKE 'files/%' OR detail LIKE 'notifications/%' THEN detail ELSE '' END, '', 0, detail, x'' FROM old_audit;
WITH RECURSIVE chain (seq, hash) AS (
  SELECT seq, hash FROM audit_start
  UNION ALL
  SELECT a.seq, audit_hash(chain.hash, a.seq, a.time, a.principal, a.peer, a.method, a.resource, a.request_id, a.code) FROM chain JOIN audit AS a ON a.seq = chain.seq + 1
)
UPDATE audit SET hash = chain.hash FROM chain WHERE audit.seq = chain.seq;
DROP TABLE old_audit;
