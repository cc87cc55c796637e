-- SPDX-License-Identifier: Apache-2.0
-- Uploads of clients (service Files) and the jobs that name them. Their bytes are in <state dir>/files.
CREATE TABLE files (
  number INTEGER PRIMARY KEY,          -- order of upload
  sha256 TEXT NOT NULL UNIQUE,         -- 64 hexadecimal digits
  size_bytes INTEGER NOT NULL,
  complete INTEGER NOT NULL,
  display_name TEXT NOT NULL,
  owner TEXT NOT NULL,
  create_time INTEGER NOT NULL,
  last_use_time INTEGER NOT NULL,      -- 0 = no job has named it
  write_time INTEGER NOT NULL          -- of Store::SteadyNow: last bytes of an incomplete upload
);
CREATE TABLE file_uses (
  job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
  sha256 TEXT NOT NULL,
  PRIMARY KEY (job, sha256)
) WITHOUT ROWID;
CREATE INDEX file_uses_by_file ON file_uses (sha256);
