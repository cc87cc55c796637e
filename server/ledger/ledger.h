// SPDX-License-Identifier: Apache-2.0
// The ledger of checkpoints: which one is the resume point, which are superseded, and which may be
// removed.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/store/job_rows.h"
#include "server/store/run_rows.h"
#include "server/store/writer.h"

namespace trainerd::server {

// The newest verified checkpoint on the lineage (highest step, then latest attempt); nullopt when
// there is none. Pure.
std::optional<v1::Checkpoint> ResumePoint(const std::vector<CheckpointRow>& rows);

// Checkpoints that retention removes: all but the `keep_last` newest verified ones by publication,
// the resume point, and `in_use` (names). Unverified ones are kept until a newer verified one
// exists. Pure; rows as ListCheckpointRows gives them, newest first.
std::vector<v1::Checkpoint> ChooseRemovals(const std::vector<CheckpointRow>& rows, int keep_last,
                                           const std::set<std::string>& in_use);

// Whether a checkpoint with this parent is on the lineage: its parent is, or it has none and
// nothing was resumed. Pure.
bool IsOnLineage(const std::vector<CheckpointRow>& rows, const std::string& parent);

// Stores a checkpoint and its event.
absl::Status RecordCheckpoint(Transaction& transaction, const v1::Checkpoint& checkpoint,
                              v1::CheckpointEvent::Kind kind, const std::string& message);

// Marks a checkpoint as not verified, with `why` in its event. No attempt resumes from it until it
// has been read back again.
absl::Status MarkCorrupt(Transaction& transaction, v1::Checkpoint checkpoint,
                         const std::string& why);

// The same for a checkpoint from which another job should start; also updates the resume point of
// the checkpoint's own job. Returns advice to append to the reason in a message: the checkpoint to
// start from instead, or that there is none.
absl::StatusOr<std::string> MarkBaseCorrupt(Transaction& transaction,
                                            const v1::Checkpoint& checkpoint,
                                            const std::string& why);

// Sets Job.latest_checkpoint from the rows and returns the resume point. Does not store the record.
absl::StatusOr<std::optional<v1::Checkpoint>> UpdateResumePoint(Transaction& transaction,
                                                                JobRecord* record);

// Marks the checkpoints beyond `resume_step`, from which a new attempt starts, as superseded, each
// with its event.
absl::Status SupersedeBeyond(Transaction& transaction, const std::string& job_id,
                             int64_t resume_step);

}  // namespace trainerd::server
