// SPDX-License-Identifier: Apache-2.0
#include "server/ledger/ledger.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "proto/base/status_macros.h"
#include "proto/contract/job/names.h"
#include "server/ledger/checkpoint_scan.h"
#include "trainerd/v1/event.pb.h"

namespace trainerd::server {
namespace {

// Limits the size of a transaction: of more superseded checkpoints than this, only the newest get
// an event.
constexpr int kMaxSupersededEvents = 200;

}  // namespace

std::optional<v1::Checkpoint> ResumePoint(const std::vector<CheckpointRow>& rows) {
  const v1::Checkpoint* best = nullptr;
  for (const CheckpointRow& row : rows) {
    const v1::Checkpoint& c = row.checkpoint;
    if (!c.verified() || c.superseded() || c.deleted()) continue;
    if (best == nullptr ||
        std::pair(c.step(), c.attempt()) > std::pair(best->step(), best->attempt())) {
      best = &c;
    }
  }
  return best == nullptr ? std::nullopt : std::optional(*best);
}

std::vector<v1::Checkpoint> ChooseRemovals(const std::vector<CheckpointRow>& rows, int keep_last,
                                           const std::set<std::string>& in_use) {
  const std::optional<v1::Checkpoint> resume_point = ResumePoint(rows);
  std::vector<v1::Checkpoint> removals;
  int kept = 0;
  bool newer_verified = false;
  for (const CheckpointRow& row : rows) {
    const v1::Checkpoint& c = row.checkpoint;
    if (c.deleted()) continue;
    const bool is_protected =
        in_use.count(c.name()) > 0 || (resume_point && resume_point->name() == c.name());
    const bool within = c.verified() ? kept < keep_last : !newer_verified;
    if (c.verified()) {
      ++kept;
      newer_verified = true;
    }
    if (!is_protected && !within) removals.push_back(c);
  }
  return removals;
}

bool IsOnLineage(const std::vector<CheckpointRow>& rows, const std::string& parent) {
  if (parent.empty()) {
    // From the beginning: on the line unless an attempt has since gone on from another beginning's
    // checkpoints.
    return std::none_of(rows.begin(), rows.end(), [](const CheckpointRow& row) {
      return !row.checkpoint.superseded() && row.checkpoint.parent().empty();
    });
  }
  for (const CheckpointRow& row : rows) {
    if (row.checkpoint.name() == parent) return !row.checkpoint.superseded();
  }
  // A parent that is no row of this job is the checkpoint that the job began from.
  return true;
}

absl::Status RecordCheckpoint(Transaction& transaction, const v1::Checkpoint& checkpoint,
                              v1::CheckpointEvent::Kind kind, const std::string& message) {
  RETURN_IF_ERROR(StoreCheckpoint(transaction.db(), checkpoint));
  v1::Event event;
  event.set_job(checkpoint.job());
  event.set_attempt(checkpoint.attempt());
  event.mutable_checkpoint()->set_kind(kind);
  event.mutable_checkpoint()->set_message(message);
  *event.mutable_checkpoint()->mutable_checkpoint() = checkpoint;
  return transaction.Append(std::move(event));
}

absl::Status MarkCorrupt(Transaction& transaction, v1::Checkpoint checkpoint,
                         const std::string& why) {
  checkpoint.set_verified(false);
  checkpoint.set_damage(why);
  return RecordCheckpoint(transaction, checkpoint, v1::CheckpointEvent::FAILED,
                          absl::StrCat("cannot be resumed from: ", why));
}

absl::StatusOr<std::optional<v1::Checkpoint>> UpdateResumePoint(Transaction& transaction,
                                                                JobRecord* record) {
  ASSIGN_OR_RETURN(std::vector<CheckpointRow> rows,
                   ListCheckpointRows(transaction.db(), JobId(record->job.name()),
                                      /*with_deleted=*/false));
  std::optional<v1::Checkpoint> point = ResumePoint(rows);
  record->job.set_latest_checkpoint(point ? point->name() : "");
  return point;
}

absl::StatusOr<std::string> MarkBaseCorrupt(Transaction& transaction,
                                            const v1::Checkpoint& checkpoint,
                                            const std::string& why) {
  RETURN_IF_ERROR(MarkCorrupt(transaction, checkpoint, why));
  const std::string job_id = JobId(checkpoint.name());
  ASSIGN_OR_RETURN(JobRecord record, LoadJob(transaction.db(), job_id));
  RETURN_IF_ERROR(UpdateResumePoint(transaction, &record).status());
  RETURN_IF_ERROR(StoreJob(transaction.db(), &record));
  ASSIGN_OR_RETURN(std::vector<CheckpointRow> rows,
                   ListCheckpointRows(transaction.db(), job_id, /*with_deleted=*/false));
  rows.erase(std::remove_if(rows.begin(), rows.end(),
                            [&](const CheckpointRow& row) {
                              return row.checkpoint.step() >= checkpoint.step();
                            }),
             rows.end());
  const std::optional<v1::Checkpoint> older = ResumePoint(rows);
  if (!older.has_value()) {
    const std::string advice = FinalModelAdvice(record.job.run_dir());
    return absl::StrCat("; jobs/", job_id, " has no older checkpoint to start from instead",
                        advice.empty() ? "" : "; ", advice);
  }
  return absl::StrCat("; the next older one is ", older->name(), ": `trainctl submit --from ",
                      older->name(), "`");
}

absl::Status SupersedeBeyond(Transaction& transaction, const std::string& job_id,
                             int64_t resume_step) {
  ASSIGN_OR_RETURN(std::vector<CheckpointRow> rows,
                   ListCheckpointRows(transaction.db(), job_id, /*with_deleted=*/false));
  int events = 0;
  for (CheckpointRow& row : rows) {
    v1::Checkpoint& checkpoint = row.checkpoint;
    if (checkpoint.superseded() || checkpoint.step() <= resume_step) continue;
    checkpoint.set_superseded(true);
    if (++events > kMaxSupersededEvents) {
      RETURN_IF_ERROR(StoreCheckpoint(transaction.db(), checkpoint));
      continue;
    }
    RETURN_IF_ERROR(RecordCheckpoint(transaction, checkpoint, v1::CheckpointEvent::SUPERSEDED,
                                     "a later attempt resumes from an older checkpoint"));
  }
  return absl::OkStatus();
}

}  // namespace trainerd::server
