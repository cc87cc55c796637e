// SPDX-License-Identifier: Apache-2.0
// Pending RequestCheckpoint calls of a job: they stay in its row, across crashes and attempts,
// until a checkpoint fulfills them. Pure; the caller stores the record.
#pragma once

#include "server/store/rows/job_rows.h"
#include "trainerd/v1/trainer.pb.h"

namespace trainerd::server {

// Adds a call to those that are pending. Of a label that both name, the newer value counts.
void AddCheckpointRequest(const v1::RequestCheckpointRequest& request, JobRecord* record);

// Gives the labels and the pin to a checkpoint that fulfills what is pending: one of a later
// attempt, or of a step that is not older than the one that the job had reached. Returns whether it
// did.
bool FulfillCheckpointRequest(v1::Checkpoint* checkpoint, JobRecord* record);

// Copies what users set, and what was measured, from the row of a checkpoint that its worker
// reports again.
void KeepUserFields(const v1::Checkpoint& row, v1::Checkpoint* checkpoint);

// The next etag of a checkpoint whose labels, pin or expiry changed.
void ChangeEtag(v1::Checkpoint* checkpoint);

// Drops what is pending.
void DropCheckpointRequest(JobRecord* record);

}  // namespace trainerd::server
