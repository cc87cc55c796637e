// SPDX-License-Identifier: Apache-2.0
// The ledger of checkpoints: which is the resume point, what is off the line, what may be removed.
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

// The newest verified checkpoint on the current line (highest step, then latest attempt); nullopt
// when there is none. Pure.
std::optional<v1::Checkpoint> ResumePoint(const std::vector<CheckpointRow>& rows);

// Checkpoints that retention removes: all but the `keep_last` newest verified ones by publication,
// the resume point, and `in_use` (names). Unverified ones are kept until a newer verified one
// exists. Pure; rows as ListCheckpointRows gives them, newest first.
std::vector<v1::Checkpoint> ChooseRemovals(const std::vector<CheckpointRow>& rows, int keep_last,
                                           const std::set<std::string>& in_use);

// Whether a checkpoint with this parent lies on the current line: its parent does, or it has none
// and nothing was resumed. Pure.
bool IsOnLineage(const std::vector<CheckpointRow>& rows, const std::string& parent);

// Stores a checkpoint and its event.
absl::Status RecordCheckpoint(Transaction& transaction, const v1::Checkpoint& checkpoint,
                              v1::CheckpointEvent::Kind kind, const std::string& message);

// Takes back that a checkpoint is verified, with `why` in its event: it is not resumed from until
// it has been read back again.
absl::Status MarkCorrupt(Transaction& transaction, v1::Checkpoint checkpoint,
                         const std::string& why);

// The same for a checkpoint that something else than its own job's attempt wanted to start from:
// its job's resume point is chosen anew. Answers what can be done, to follow the reason in a
// message: the checkpoint to start from instead, or that there is none.
absl::StatusOr<std::string> MarkBaseCorrupt(Transaction& transaction,
                                            const v1::Checkpoint& checkpoint,
                                            const std::string& why);

// Sets Job.latest_checkpoint from the rows; the record is not stored. Answers the resume point.
absl::StatusOr<std::optional<v1::Checkpoint>> UpdateResumePoint(Transaction& transaction,
                                                                JobRecord* record);

// Marks what lies beyond `resume_step` as superseded, each with its event: a new attempt begins
// there.
absl::Status SupersedeBeyond(Transaction& transaction, const std::string& job_id,
                             int64_t resume_step);

}  // namespace trainerd::server
