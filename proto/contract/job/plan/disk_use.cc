// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/job/plan/disk_use.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "proto/base/directory.h"
#include "proto/base/format.h"

namespace trainerd {
namespace {

constexpr double kSpaceFactor = 1.2;

}  // namespace

int64_t SpaceForCheckpoint(int64_t size_bytes) {
  return std::max(static_cast<int64_t>(kSpaceFactor * static_cast<double>(size_bytes)),
                  size_bytes + kCheckpointMarginBytes);
}

void MeasureFreeSpace(const std::string& output_path, v1::DataReport::DiskUse* disk) {
  disk->set_needed_bytes(disk->checkpoint_count() * disk->checkpoint_bytes() + disk->final_bytes());
  if (const absl::StatusOr<int64_t> free = FreeBytes(disk->folder()); free.ok())
    disk->set_free_bytes(*free);
  if (output_path.empty()) return;
  if (AreOnSameFileSystem(disk->folder(), output_path)) {
    disk->set_needed_bytes(disk->needed_bytes() + disk->final_bytes());
  } else if (const absl::StatusOr<int64_t> free = FreeBytes(output_path); free.ok()) {
    disk->set_output_free_bytes(*free);
  }
}

std::vector<std::string> DiskSpaceWarnings(const v1::DataReport::DiskUse& disk,
                                           const std::string& output_path) {
  std::vector<std::string> warnings;
  if (disk.has_free_bytes() && disk.needed_bytes() > disk.free_bytes()) {
    // One checkpoint is kept at least while the next is written.
    const bool may_keep_fewer = disk.checkpoint_count() > 2;
    warnings.push_back(absl::StrCat(
        "the job needs ", FormatBytes(disk.needed_bytes()), " in ", disk.folder(),
        " (checkpoints of ", FormatBytes(disk.checkpoint_bytes()), ", ", disk.checkpoint_count(),
        " at the same time, and the final model) and ", FormatBytes(disk.free_bytes()),
        " are free; free some space", may_keep_fewer ? ", or lower checkpoint.keep_last" : ""));
  }
  if (disk.has_output_free_bytes() && disk.final_bytes() > disk.output_free_bytes()) {
    warnings.push_back(absl::StrCat("the final model needs ", FormatBytes(disk.final_bytes()),
                                    " in output.path ", output_path, " and ",
                                    FormatBytes(disk.output_free_bytes()),
                                    " are free; free some space, or choose another folder"));
  }
  return warnings;
}

}  // namespace trainerd
