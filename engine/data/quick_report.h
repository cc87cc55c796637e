// SPDX-License-Identifier: Apache-2.0
// The part of the data report that takes milliseconds whatever the size of the files: their
// beginnings and ends, without tokenizer.
#pragma once

#include "trainerd/v1/event.pb.h"
#include "trainerd/v1/job_config.pb.h"

namespace trainerd::engine {

// Bytes that are read from the beginning of each file, and from its end.
inline constexpr int64_t kQuickHeadBytes = 4 << 20;
inline constexpr int64_t kQuickTailBytes = 256 << 10;

// Checks that model folder, template and files are there, and the schema of the files' first rows
// and last row. quick = true; `examples` and `tokens` are estimates where a file is longer than
// what was read (4 bytes a token). What is wrong is a finding with error = true; data.bad_rows:
// skip makes bad rows warnings.
v1::DataReport QuickReport(const v1::JobConfig& config);

}  // namespace trainerd::engine
