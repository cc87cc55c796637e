// SPDX-License-Identifier: Apache-2.0
// The files of checkpoints and final models, as DownloadCheckpoint reads them. Only files that the
// folder's manifest lists can be read.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/ledger/downloads_in_use.h"
#include "server/store/store.h"
#include "trainerd/v1/trainer.pb.h"

namespace trainerd::server {

// Of FileChunk.data.
inline constexpr int64_t kMaxChunkBytes = int64_t{1} << 20;

// Thread-safety: all methods may be called from any thread. They read the disk.
class CheckpointFiles {
 public:
  // Both outlive this.
  CheckpointFiles(Store& store, DownloadsInUse& in_use) : store_(store), in_use_(in_use) {}

  struct File {
    // jobs/JOB/checkpoints/CHECKPOINT or jobs/JOB/final.
    std::string model;
    std::string path;
    int64_t size_bytes = 0;
  };
  // Errors: InvalidArgument (INVALID_NAME; a negative offset), NotFound (JOB_NOT_FOUND,
  // CHECKPOINT_NOT_FOUND, FILE_NOT_FOUND), FailedPrecondition (CHECKPOINT_DELETED), OutOfRange;
  // DataLoss for a damaged manifest, or one that is not the one in the ledger (CHECKPOINT_DAMAGED).
  absl::StatusOr<File> Find(const v1::DownloadCheckpointRequest& request);

  // Fills in `chunk` with the bytes at `offset`, at most kMaxChunkBytes, with their checksum.
  // Errors: FailedPrecondition (CHECKPOINT_DELETED); DataLoss for a file that changed its size; of
  // read(2).
  absl::Status Read(const File& file, int64_t offset, v1::FileChunk* chunk);

 private:
  // The checkpoint's row; of a final model the path alone.
  absl::StatusOr<v1::Checkpoint> FindModel(const std::string& model);

  Store& store_;
  DownloadsInUse& in_use_;
};

}  // namespace trainerd::server
