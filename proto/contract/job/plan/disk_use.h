// SPDX-License-Identifier: Apache-2.0
// Whether the checkpoints and the final model of a job fit on the disk. The worker warns before the
// first step; validate and submit warn before the job is queued. A job whose next checkpoint does
// not fit waits.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "trainerd/v1/event.pb.h"

namespace trainerd {

// Code of the finding, and of the worker's notice.
inline constexpr char kDiskSpace[] = "DISK_SPACE";

// What must be free beside the size of a checkpoint: the state of the run beyond its estimate, and
// the file system's blocks.
inline constexpr int64_t kCheckpointMarginBytes = 64 << 10;

// What must be free before a checkpoint is begun, and before a job starts whose next checkpoint it
// is: 1.2 times its size, which is that of the last one or the expected one, and at least the
// margin more.
int64_t SpaceForCheckpoint(int64_t size_bytes);

// Sets needed_bytes, free_bytes and output_free_bytes of `disk` from the other fields.
// `output_path`: output.path of the job; may be empty.
void MeasureFreeSpace(const std::string& output_path, v1::DataReport::DiskUse* disk);

// One message per file system on which the job does not fit: what it needs, what is free, and what
// to do.
std::vector<std::string> DiskSpaceWarnings(const v1::DataReport::DiskUse& disk,
                                           const std::string& output_path);

}  // namespace trainerd
