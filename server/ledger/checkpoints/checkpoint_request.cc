// SPDX-License-Identifier: Apache-2.0
#include "server/ledger/checkpoints/checkpoint_request.h"

#include <cstdint>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace trainerd::server {

void AddCheckpointRequest(const v1::RequestCheckpointRequest& request, JobRecord* record) {
  internal::JobLedger& ledger = record->ledger;
  if (!ledger.has_checkpoint_request())
    ledger.set_checkpoint_requests(ledger.checkpoint_requests() + 1);
  internal::CheckpointRequest& pending = *ledger.mutable_checkpoint_request();
  for (const auto& [key, value] : request.labels()) (*pending.mutable_labels())[key] = value;
  pending.set_pin(pending.pin() || request.pin());
  pending.set_attempt(record->job.attempt());
  pending.set_step(record->job.progress().step());
  record->job.set_checkpoint_pending(true);
}

bool FulfillCheckpointRequest(v1::Checkpoint* checkpoint, JobRecord* record) {
  if (!record->ledger.has_checkpoint_request()) return false;
  const internal::CheckpointRequest& pending = record->ledger.checkpoint_request();
  const bool is_newer =
      checkpoint->attempt() > pending.attempt() ||
      (checkpoint->attempt() == pending.attempt() && checkpoint->step() >= pending.step());
  if (!is_newer) return false;
  for (const auto& [key, value] : pending.labels()) (*checkpoint->mutable_labels())[key] = value;
  checkpoint->set_pinned(checkpoint->pinned() || pending.pin());
  if (!checkpoint->etag().empty()) ChangeEtag(checkpoint);
  DropCheckpointRequest(record);
  return true;
}

void KeepUserFields(const v1::Checkpoint& row, v1::Checkpoint* checkpoint) {
  *checkpoint->mutable_labels() = row.labels();
  checkpoint->set_pinned(row.pinned());
  if (row.has_expire_time()) *checkpoint->mutable_expire_time() = row.expire_time();
  checkpoint->set_etag(row.etag());
  checkpoint->set_best(row.best());
  *checkpoint->mutable_metrics() = row.metrics();
}

void ChangeEtag(v1::Checkpoint* checkpoint) {
  int64_t number = 0;
  // Of a row that an older trainerd stored it is empty.
  if (!absl::SimpleAtoi(checkpoint->etag(), &number)) number = 0;
  checkpoint->set_etag(absl::StrCat(number + 1));
}

void DropCheckpointRequest(JobRecord* record) {
  record->ledger.clear_checkpoint_request();
  record->job.set_checkpoint_pending(false);
}

}  // namespace trainerd::server
