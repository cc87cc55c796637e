// SPDX-License-Identifier: Apache-2.0
// Reads a run directory after an attempt has ended: finds the checkpoints, including those that no
// event reported, and reads the unverified ones and the final model back. Blocks on the disk, so
// only the disk worker calls it.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "server/ledger/disk/checkpoint_scan.h"

namespace trainerd::server {

struct RunScanRequest {
  std::string run_dir;
  // jobs/{id}
  std::string job;
  // Checkpoints that need no second verification.
  std::set<std::string> verified_ids;
  // The worker reports that the job is complete.
  bool check_final = false;
  // Checked together with the final model; empty: none.
  std::string output_path;
};

struct RunScan {
  struct Found {
    FoundCheckpoint checkpoint;
    // OK, or a conclusive read error.
    absl::Status verified;
  };
  std::vector<Found> found;
  // OK, or a conclusive read error.
  absl::Status final_status;
  // Not OK after an inconclusive read error: nothing is decided, and `found` is empty.
  absl::Status status;
};

RunScan ScanRun(const RunScanRequest& request);

}  // namespace trainerd::server
