// SPDX-License-Identifier: Apache-2.0
// What the checkpoints on disk mean for a job whose attempt has ended: parts of the transaction
// CloseAttempt.
#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/ledger/disk/run_scan.h"
#include "server/store/rows/job_rows.h"
#include "server/store/writer.h"
#include "trainerd/v1/checkpoint.pb.h"

namespace trainerd::server {

// Adds the checkpoints of the run directory to the ledger, parents before children.
absl::Status AdoptCheckpoints(Transaction& transaction, JobRecord* record, RunScan scan);

// Marks the resume point corrupt, because the worker found that its hashes differ, so that the next
// attempt starts from an older one. Does nothing if scans met read errors and the checkpoint now
// reads back: the worker then met the same read error.
absl::Status MarkResumePointCorrupt(Transaction& transaction, const std::string& resumed_from,
                                    const RunScan& scan, bool had_read_errors,
                                    const std::string& why);

// Marks the checkpoint of another job, from which this job starts, corrupt. Returns advice to
// append to the error.
absl::StatusOr<std::string> MarkStartCorrupt(Transaction& transaction, const std::string& base,
                                             const std::string& why);

// What the checkpoints that exist at the end of an attempt decide: the best one, its evaluations,
// the RequestCheckpoint calls, and the resume point, which is returned.
absl::StatusOr<std::optional<v1::Checkpoint>> TakeCheckpoints(Transaction& transaction,
                                                              JobRecord* record);

}  // namespace trainerd::server
