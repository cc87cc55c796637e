// SPDX-License-Identifier: Apache-2.0
// Checkpoint folders of a run directory: finding those with a manifest, reading them back, removing
// them. What a folder means (adopted, superseded, resume point) is the ledger's decision; a
// folder's name, time or order decides nothing.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/contract/run_dir/manifest.h"
#include "trainerd/v1/checkpoint.pb.h"

namespace trainerd::server {

// A folder checkpoints/<id> whose MANIFEST.json parses.
struct FoundCheckpoint {
  std::string id;    // the folder's name
  std::string path;  // absolute
  Manifest manifest;
  std::string manifest_digest;  // 16 bytes
};

// Folders with a manifest, in no meaningful order. Those without a valid one (unfinished, `.tmp-…`)
// are left out. No folder yet = empty. Errors: whatever kept the folder or a manifest from being
// read; what is there is not known then.
absl::StatusOr<std::vector<FoundCheckpoint>> ScanCheckpoints(const std::string& run_dir);

// Reads every file back. DataLoss names the file and what differs, and is only said when every byte
// could be read; Unavailable when one could not be.
absl::Status VerifyCheckpoint(const FoundCheckpoint& found);

// The checkpoint is there as its row says: the manifest is the same and every file has its size.
// Hashes are compared by the worker that loads it. Errors as VerifyCheckpoint's; NotFound for what
// is gone.
absl::Status QuickCheckCheckpoint(const v1::Checkpoint& checkpoint);

// The ledger row that a found folder makes; verified and superseded are left false.
v1::Checkpoint ToCheckpoint(const FoundCheckpoint& found);

// The manifest of run_dir/final, read back; NotFound when there is none, DataLoss when it does not
// hold, Unavailable when it cannot be read now.
absl::StatusOr<Manifest> VerifyFinal(const std::string& final_dir);

// Renames checkpoints/<id> into <run_dir>/.trash (durable), then unlinks it. OK when it is not
// there.
absl::Status RemoveCheckpoint(const std::string& run_dir, const std::string& id);
// Unlinks what a crash left in <run_dir>/.trash.
absl::Status EmptyTrash(const std::string& run_dir);
// Renames a job's run directory into <runs_dir>/.trash (durable), then unlinks it. OK when it is
// not there.
absl::Status RemoveRunDirectory(const std::string& run_dir);

}  // namespace trainerd::server
