// SPDX-License-Identifier: Apache-2.0
// The part of the data report that takes milliseconds whatever the size of the files: it reads
// their beginnings and ends and tokenizes nothing. model/folder/job_model.h checks the model.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "engine/data/source/conversation.h"
#include "engine/data/source/record_error.h"
#include "trainerd/v1/event.pb.h"
#include "trainerd/v1/job_config.pb.h"

namespace trainerd::engine {

// Bytes that are read from the beginning of each file, and from its end.
inline constexpr int64_t kQuickHeadBytes = 4 << 20;
inline constexpr int64_t kQuickTailBytes = 256 << 10;

// A further check of the records that are read: an error makes the job fail, whatever data.bad_rows
// is. May be empty.
using QuickRowCheck = std::function<std::optional<RecordError>(const Conversation&)>;

// Checks that the files exist, and the schema of the files' first records and last record. Sets
// quick = true. `examples` and `validation_examples` are estimates if a file is longer than the
// part that was read; tokens.total is always an estimate (4 bytes per token, without template and
// system prompt). tokens.count is the number of records read, those of data.validation included:
// equal to examples + validation_examples if every record was read, else smaller. There are no
// percentiles of tokens. A problem is a finding with error = true; data.bad_rows: skip makes bad
// records warnings.
v1::DataReport QuickReport(const v1::JobConfig& config, const QuickRowCheck& row_check = {});

// Steps of the job at most, where a quick report shows it: every record was read, each is one
// example, and every example that is not split is in one sequence. Without train.max_steps.
std::optional<int64_t> QuickStepsAtMost(const v1::JobConfig& config, const v1::DataReport& quick);

}  // namespace trainerd::engine
