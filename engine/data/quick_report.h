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

// Checks that model folder (with its weights), template and files are there, and the schema of the
// files' first rows and last row. quick = true; `examples` and `validation_examples` are estimates
// where a file is longer than what was read, tokens.total always is one (4 bytes a token, without
// template and system prompt). tokens.count is how many rows were read, of data.validation too: as
// many as examples + validation_examples have when every row of every file was read, else fewer.
// No percentiles of tokens. What is wrong is a finding with error = true; data.bad_rows: skip makes
// bad rows warnings.
v1::DataReport QuickReport(const v1::JobConfig& config);

}  // namespace trainerd::engine
