// SPDX-License-Identifier: Apache-2.0
// Checkpoint folders of a run directory: finds those with a manifest, reads them back and removes
// them. The ledger decides what a folder means (adopted, superseded, resume point); its name, time
// and order have no meaning.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/contract/run_dir/found_checkpoint.h"
#include "proto/contract/run_dir/manifest.h"
#include "trainerd/v1/checkpoint.pb.h"

namespace trainerd::server {

// Folders with a manifest, in no particular order. Skips folders without a valid one (unfinished,
// `.tmp-…`). Empty when the folder does not exist. Errors: of reading the folder or a manifest;
// what exists is then unknown.
absl::StatusOr<std::vector<FoundCheckpoint>> ScanCheckpoints(const std::string& run_dir);

// Reads every file back. Errors: DataLoss, with the file and the difference, when every byte could
// be read; Unavailable when a byte could not be read.
absl::Status VerifyCheckpoint(const FoundCheckpoint& found);

// The same for a checkpoint of the ledger: its manifest must be the one that was published. `file`
// gets the name of the file that differs. `is_cancelled` (null = never) is called for each MiB.
// Errors: also NotFound for a missing file; Cancelled.
absl::Status VerifyCheckpoint(const v1::Checkpoint& checkpoint,
                              const std::function<bool()>& is_cancelled, std::string* file);

// Whether the manifest of the checkpoint is the published one. Errors: DataLoss if it is another
// one; NotFound; of reading it.
absl::Status CheckManifestDigest(const v1::Checkpoint& checkpoint);

// Compares the checkpoint with its row: the manifest is the same and every file has its size. The
// worker that loads the checkpoint compares the hashes. Errors: as VerifyCheckpoint; NotFound for a
// missing file.
absl::Status QuickCheckCheckpoint(const v1::Checkpoint& checkpoint);

// Reads run_dir/final back and returns its manifest. Errors: NotFound without a manifest, DataLoss
// when a file differs from it, Unavailable when a file cannot be read now.
absl::StatusOr<Manifest> VerifyFinal(const std::string& final_dir);
// For a message about a job without a usable checkpoint: how to start from its final model. "" if
// it has none, or the quick check finds it damaged.
std::string FinalModelAdvice(const std::string& run_dir);

// Renames checkpoints/<id> into <run_dir>/.trash (durable), then unlinks it. OK when it does not
// exist.
absl::Status RemoveCheckpoint(const std::string& run_dir, const std::string& id);
// Unlinks the rest of an interrupted removal in <run_dir>/.trash.
absl::Status EmptyTrash(const std::string& run_dir);
// Renames a job's run directory into <runs_dir>/.trash (durable), then unlinks it. OK when it does
// not exist.
absl::Status RemoveRunDirectory(const std::string& run_dir);

}  // namespace trainerd::server
