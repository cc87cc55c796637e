// SPDX-License-Identifier: Apache-2.0
#include "server/ledger/checkpoints/load_checkpoint.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/base/status_macros.h"
#include "proto/contract/job/names.h"
#include "server/store/errors.h"
#include "server/store/rows/job_rows.h"

namespace trainerd::server {

absl::StatusOr<CheckpointRow> LoadCheckpoint(Connection& db, const std::string& name) {
  const std::string job_id = JobId(name);
  RETURN_IF_ERROR(LoadJob(db, job_id).status());
  ASSIGN_OR_RETURN(std::optional<CheckpointRow> row,
                   FindCheckpoint(db, job_id, CheckpointId(name)));
  if (!row) {
    return ErrorWithReason(absl::StatusCode::kNotFound, "CHECKPOINT_NOT_FOUND",
                           absl::StrCat(name, " does not exist; `trainctl checkpoints ls ", job_id,
                                        "` lists the checkpoints of the job"));
  }
  if (row->checkpoint.deleted()) {
    return ErrorWithReason(absl::StatusCode::kFailedPrecondition, "CHECKPOINT_DELETED",
                           absl::StrCat(name, " was deleted; `trainctl checkpoints ls ", job_id,
                                        "` lists the checkpoints that are left"));
  }
  return *std::move(row);
}

absl::StatusOr<CheckpointRow> LoadVerifiedCheckpoint(Connection& db, const std::string& name) {
  ASSIGN_OR_RETURN(CheckpointRow row, LoadCheckpoint(db, name));
  if (row.checkpoint.verified()) return row;
  return ErrorWithReason(
      absl::StatusCode::kFailedPrecondition, "CHECKPOINT_NOT_VERIFIED",
      row.checkpoint.damage().empty()
          ? absl::StrCat(name, " is not verified; use a verified checkpoint")
          : absl::StrCat(DamageText(row.checkpoint), "; use a verified checkpoint"));
}

std::string DamageText(const v1::Checkpoint& checkpoint) {
  return absl::StrCat(checkpoint.name(), " is damaged (", checkpoint.damage(), ")");
}

}  // namespace trainerd::server
