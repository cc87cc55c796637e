// SPDX-License-Identifier: Apache-2.0
#include "server/ledger/disk/run_scan.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/base/status_macros.h"
#include "proto/contract/run_dir/manifest.h"
#include "proto/contract/run_dir/read_error.h"

namespace trainerd::server {
namespace {

absl::Status CheckFinal(const RunScanRequest& request) {
  absl::StatusOr<Manifest> final_manifest = VerifyFinal(request.run_dir + "/final");
  RETURN_IF_ERROR(Annotate(final_manifest.status(), "the final model"));
  if (request.output_path.empty()) return absl::OkStatus();
  absl::StatusOr<Manifest> output = VerifyFinal(request.output_path);
  RETURN_IF_ERROR(Annotate(output.status(), "output.path ", request.output_path));
  if (output->job != request.job) {
    return absl::DataLossError(
        absl::StrCat("output.path ", request.output_path, " has the model of ", output->job));
  }
  return absl::OkStatus();
}

absl::Status Scan(const RunScanRequest& request, RunScan* scan) {
  ASSIGN_OR_RETURN(std::vector<FoundCheckpoint> found, ScanCheckpoints(request.run_dir));
  for (FoundCheckpoint& checkpoint : found) {
    RunScan::Found result;
    if (request.verified_ids.count(checkpoint.id) == 0) {
      result.verified = VerifyCheckpoint(checkpoint);
      if (!result.verified.ok() && !IsConclusive(result.verified)) return result.verified;
    }
    result.checkpoint = std::move(checkpoint);
    scan->found.push_back(std::move(result));
  }
  if (!request.check_final) return absl::OkStatus();
  scan->final_status = CheckFinal(request);
  return scan->final_status.ok() || IsConclusive(scan->final_status) ? absl::OkStatus()
                                                                     : scan->final_status;
}

}  // namespace

RunScan ScanRun(const RunScanRequest& request) {
  RunScan scan;
  absl::Status status = Scan(request, &scan);
  if (!status.ok()) scan = {.status = std::move(status)};
  return scan;
}

}  // namespace trainerd::server
