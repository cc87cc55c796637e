-- SPDX-License-Identifier: Apache-2.0
-- Checkpoints and final models that clients download: ledger/downloads_in_use.h.
CREATE TABLE downloads (model TEXT PRIMARY KEY) WITHOUT ROWID;
