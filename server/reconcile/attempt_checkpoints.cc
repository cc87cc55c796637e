// SPDX-License-Identifier: Apache-2.0
#include "server/reconcile/attempt_checkpoints.h"

#include <algorithm>
#include <vector>

#include "proto/base/status_macros.h"
#include "proto/contract/job/names.h"
#include "proto/contract/run_dir/found_checkpoint.h"
#include "server/ledger/evaluations/evaluations.h"
#include "server/ledger/ledger.h"
#include "server/store/rows/run_rows.h"

namespace trainerd::server {
namespace {

// Limits the size of a transaction. Further checkpoints that no event reported are adopted at the
// end of the next attempt.
constexpr int kMaxAdopted = 64;

bool ReadsBack(const RunScan& scan, const std::string& id) {
  for (const RunScan::Found& found : scan.found) {
    if (found.checkpoint.id == id) return found.verified.ok();
  }
  return false;
}

}  // namespace

absl::Status AdoptCheckpoints(Transaction& transaction, JobRecord* record, RunScan scan) {
  const std::string job_id = JobId(record->job.name());
  std::sort(scan.found.begin(), scan.found.end(), [](const auto& a, const auto& b) {
    return a.checkpoint.manifest.step < b.checkpoint.manifest.step;
  });
  // Each can trigger as many evaluations as there are entries.
  const int max_adopted = kMaxAdopted / (1 + record->job.config().evaluation().remote_size());
  int adopted = 0;
  for (const RunScan::Found& found : scan.found) {
    // The manifest of a folder that was copied from another job names that job.
    if (!found.verified.ok() || found.checkpoint.manifest.job != JobName(job_id)) continue;
    ASSIGN_OR_RETURN(std::optional<CheckpointRow> row,
                     FindCheckpoint(transaction.db(), job_id, found.checkpoint.id));
    if (row && (row->checkpoint.verified() || row->checkpoint.deleted())) continue;
    if (++adopted > max_adopted) break;
    if (row) {
      row->checkpoint.set_verified(true);
      row->checkpoint.clear_damage();
      RETURN_IF_ERROR(RecordCheckpoint(transaction, row->checkpoint, v1::CheckpointEvent::VERIFIED,
                                       "read back after its attempt had ended"));
      continue;
    }
    v1::Checkpoint checkpoint = ToCheckpoint(found.checkpoint);
    ASSIGN_OR_RETURN(std::vector<CheckpointRow> rows,
                     ListCheckpointRows(transaction.db(), job_id, /*with_deleted=*/true));
    checkpoint.set_verified(true);
    checkpoint.set_superseded(!IsOnLineage(rows, checkpoint.parent()));
    RETURN_IF_ERROR(CompleteCheckpoint(transaction, &checkpoint, record));
    RETURN_IF_ERROR(RecordCheckpoint(transaction, checkpoint, v1::CheckpointEvent::ADOPTED,
                                     "found on disk after its attempt had ended"));
    if (checkpoint.superseded()) continue;
    RETURN_IF_ERROR(
        TriggerEvaluations(transaction, *record, checkpoint.name(),
                           {.kind = TriggerPoint::Kind::kPublished, .step = checkpoint.step()}));
  }
  return absl::OkStatus();
}

absl::Status MarkResumePointCorrupt(Transaction& transaction, const std::string& resumed_from,
                                    const RunScan& scan, bool had_read_errors,
                                    const std::string& why) {
  const std::string id = CheckpointId(resumed_from);
  if (had_read_errors && ReadsBack(scan, id)) return absl::OkStatus();
  ASSIGN_OR_RETURN(std::optional<CheckpointRow> row,
                   FindCheckpoint(transaction.db(), JobId(resumed_from), id));
  if (!row || !row->checkpoint.verified()) return absl::OkStatus();
  return MarkCorrupt(transaction, row->checkpoint, why);
}

absl::StatusOr<std::string> MarkStartCorrupt(Transaction& transaction, const std::string& base,
                                             const std::string& why) {
  const std::string id = CheckpointId(base);
  if (id.empty()) return "";  // a folder that no job wrote
  ASSIGN_OR_RETURN(const std::optional<CheckpointRow> row,
                   FindCheckpoint(transaction.db(), JobId(base), id));
  if (!row.has_value()) return "";
  return MarkBaseCorrupt(transaction, row->checkpoint, why);
}

absl::StatusOr<std::optional<v1::Checkpoint>> TakeCheckpoints(Transaction& transaction,
                                                              JobRecord* record) {
  const std::string best = record->job.best_checkpoint();
  ASSIGN_OR_RETURN(std::optional<v1::Checkpoint> point, UpdateResumePoint(transaction, record));
  RETURN_IF_ERROR(TriggerIfBestChanged(transaction, *record, best));
  RETURN_IF_ERROR(FulfillByResumePoint(transaction, record));
  return point;
}

}  // namespace trainerd::server
