// SPDX-License-Identifier: Apache-2.0
#include "server/jobs/run_scan.h"

#include "absl/strings/str_cat.h"
#include "proto/contract/manifest.h"
#include "proto/contract/status_macros.h"

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
        absl::StrCat("output.path ", request.output_path, " holds the model of ", output->job));
  }
  return absl::OkStatus();
}

}  // namespace

RunScan ScanRun(const RunScanRequest& request) {
  RunScan scan;
  absl::StatusOr<std::vector<FoundCheckpoint>> found = ScanCheckpoints(request.run_dir);
  if (!found.ok()) {
    scan.status = scan.final_status = found.status();
    return scan;
  }
  for (FoundCheckpoint& checkpoint : *found) {
    absl::Status verified = request.verified_ids.count(checkpoint.id) > 0
                                ? absl::OkStatus()
                                : VerifyCheckpoint(checkpoint);
    scan.found.push_back({.checkpoint = std::move(checkpoint), .verified = std::move(verified)});
  }
  if (request.check_final) scan.final_status = CheckFinal(request);
  return scan;
}

}  // namespace trainerd::server
