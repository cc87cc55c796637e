// SPDX-License-Identifier: Apache-2.0
// The ledger of checkpoints: which one is the resume point, which is the best one, which are
// superseded, and which may be removed.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/ledger/checkpoints/retention.h"
#include "server/store/rows/job_rows.h"
#include "server/store/rows/run_rows.h"
#include "server/store/writer.h"

namespace trainerd::server {

// The newest verified checkpoint on the lineage (highest step, then latest attempt); nullopt when
// there is none. Pure.
std::optional<v1::Checkpoint> ResumePoint(const std::vector<CheckpointRow>& rows);

// Which checkpoints of a job stay and which are removed at `now`. `in_use`: names of those that
// calls read now. Errors: of the database.
absl::StatusOr<std::vector<RetentionItem>> PlanRetention(Connection& db, const JobRecord& record,
                                                         std::set<std::string> in_use,
                                                         absl::Time now);

// Whether a checkpoint with this parent is on the lineage: its parent is, or it has none and
// nothing was resumed. Pure.
bool IsOnLineage(const std::vector<CheckpointRow>& rows, const std::string& parent);

// Stores a checkpoint and its event.
absl::Status RecordCheckpoint(Transaction& transaction, const v1::Checkpoint& checkpoint,
                              v1::CheckpointEvent::Kind kind, const std::string& message);

// Gives a checkpoint, before it is stored first, what its manifest does not have: the metrics of
// its step that have been ingested, labels and pin of the RequestCheckpoint calls that it fulfills,
// and its etag. Changes the job's record without storing it.
absl::Status CompleteCheckpoint(Transaction& transaction, v1::Checkpoint* checkpoint,
                                JobRecord* record);

// After an attempt that published no further checkpoint: fulfills the pending RequestCheckpoint
// calls with the resume point if it is new enough. Changes the job's record without storing it.
absl::Status FulfillByResumePoint(Transaction& transaction, JobRecord* record);

// Adds measured values to a checkpoint, stores it and updates which checkpoint is the best one.
// Changes the job's record without storing it.
absl::Status RecordMeasurements(Transaction& transaction,
                                const std::vector<v1::Measurement>& measurements,
                                v1::Checkpoint checkpoint, JobRecord* record);

// Marks a checkpoint as not verified, with `why` in its event. No attempt resumes from it until it
// has been read back again.
absl::Status MarkCorrupt(Transaction& transaction, v1::Checkpoint checkpoint,
                         const std::string& why);

// The same, and updates the resume point and the best checkpoint of its job.
absl::Status MarkCorruptInJob(Transaction& transaction, const v1::Checkpoint& checkpoint,
                              const std::string& why);

// The same for a checkpoint from which another job should start. Returns advice to append to the
// reason in a message: the checkpoint to start from instead, or that there is none.
absl::StatusOr<std::string> MarkBaseCorrupt(Transaction& transaction,
                                            const v1::Checkpoint& checkpoint,
                                            const std::string& why);

// Sets Job.latest_checkpoint and Job.best_checkpoint from the rows, with the event of a checkpoint
// that became the best one, and returns the resume point. Does not store the record.
absl::StatusOr<std::optional<v1::Checkpoint>> UpdateResumePoint(Transaction& transaction,
                                                                JobRecord* record);

// Marks the checkpoints beyond `resume_step`, from which a new attempt starts, as superseded, each
// with its event.
absl::Status SupersedeBeyond(Transaction& transaction, const std::string& job_id,
                             int64_t resume_step);

// Makes the chain from `resume` back through its parents the lineage: all other checkpoints of the
// job become superseded, each with its event.
absl::Status MakeLineage(Transaction& transaction, const v1::Checkpoint& resume);

}  // namespace trainerd::server
