// SPDX-License-Identifier: Apache-2.0
// A checkpoint that a request names, or the error that says why it cannot be used.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "server/store/rows/run_rows.h"
#include "server/store/sqlite.h"

namespace trainerd::server {

// The row of the checkpoint `name`. Errors: NotFound with reason JOB_NOT_FOUND or
// CHECKPOINT_NOT_FOUND; FailedPrecondition with reason CHECKPOINT_DELETED.
absl::StatusOr<CheckpointRow> LoadCheckpoint(Connection& db, const std::string& name);

// The same for one that a job is to start from. Errors: also FailedPrecondition with reason
// CHECKPOINT_NOT_VERIFIED.
absl::StatusOr<CheckpointRow> LoadVerifiedCheckpoint(Connection& db, const std::string& name);

// "jobs/… is damaged (why)".
std::string DamageText(const v1::Checkpoint& checkpoint);

}  // namespace trainerd::server
