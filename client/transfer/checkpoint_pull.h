// SPDX-License-Identifier: Apache-2.0
// Copies a checkpoint or a final model from the daemon into a folder. The files are collected in
// FOLDER.part, which an interrupted pull continues, and compared with the sizes and hashes of
// MANIFEST.json. FOLDER appears at the end, complete and durable.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "client/net/connection.h"

namespace trainerd::client {

struct PullOptions {
  // jobs/JOB/checkpoints/CHECKPOINT or jobs/JOB/final.
  std::string model;
  // Absolute.
  std::string folder;
  // Null: never.
  std::function<bool()> is_interrupted = nullptr;
  // Called now and then with the bytes that are there, and those of all files. Null: not called.
  std::function<void(int64_t bytes, int64_t total_bytes)> on_progress = nullptr;
};

struct PullResult {
  int64_t files = 0;
  // Of all files, with the manifest.
  int64_t bytes = 0;
  // By this call; less than `bytes` if an earlier one had received some.
  int64_t received_bytes = 0;
};

// OK at once if the folder is there and equal to the manifest. Errors: those of the daemon;
// AlreadyExists if the folder holds something else; FailedPrecondition while another trainctl pulls
// into it; ResourceExhausted with the numbers if the disk is full; DataLoss if a file twice differs
// from the manifest; Cancelled.
absl::StatusOr<PullResult> PullCheckpoint(Connection& connection, const PullOptions& options);

}  // namespace trainerd::client
