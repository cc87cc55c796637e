// SPDX-License-Identifier: Apache-2.0
// What a run directory really holds when an attempt has ended: checkpoints that no event told of,
// whether those without proof read back, and whether the final model does. Blocks on the disk:
// called from the disk worker.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "server/ledger/checkpoint_scan.h"

namespace trainerd::server {

struct RunScanRequest {
  std::string run_dir;
  std::string job;                     // jobs/{id}
  std::set<std::string> verified_ids;  // need no second reading
  bool check_final = false;            // the worker says that the job is complete
  std::string output_path;             // also to be checked then; "" = none
};

struct RunScan {
  struct Found {
    FoundCheckpoint checkpoint;
    absl::Status verified;  // OK, or evidence that it is damaged
  };
  std::vector<Found> found;
  absl::Status final_status;  // OK, or evidence that there is no whole final model
  // Not OK: something could not be read, so that nothing is decided; `found` is empty then.
  absl::Status status;
};

RunScan ScanRun(const RunScanRequest& request);

}  // namespace trainerd::server
