// SPDX-License-Identifier: Apache-2.0
// Whether the checkpoints and the final model of a job fit on the disk. The worker warns before the
// first step; validate and submit warn before the job is queued.
#pragma once

#include <string>
#include <vector>

#include "trainerd/v1/event.pb.h"

namespace trainerd {

// Code of the finding, and of the worker's notice.
inline constexpr char kDiskSpace[] = "DISK_SPACE";

// Sets needed_bytes, free_bytes and output_free_bytes of `disk` from the other fields.
// `output_path`: output.path of the job; may be empty.
void MeasureFreeSpace(const std::string& output_path, v1::DataReport::DiskUse* disk);

// One message per file system on which the job does not fit: what it needs, what is free, and what
// to do.
std::vector<std::string> DiskSpaceWarnings(const v1::DataReport::DiskUse& disk,
                                           const std::string& output_path);

}  // namespace trainerd
