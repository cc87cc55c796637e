// SPDX-License-Identifier: Apache-2.0
// Number of tokens of a checkpoint, from its own state.json. Read where no event reported the
// number (an adopted checkpoint, or one that a job starts from).
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace trainerd::server {

// Tokens of the steps up to the checkpoint in `folder`. Errors: NotFound without a state.json,
// DataLoss when it has no count, Unavailable when it cannot be read now. Memory: reads a file of at
// most 4 MiB and keeps nothing of it.
absl::StatusOr<int64_t> CheckpointTokens(const std::string& folder);

}  // namespace trainerd::server
