// SPDX-License-Identifier: Apache-2.0
// How many tokens stand in a checkpoint, out of its own state.json: asked where no event told the
// daemon (a checkpoint that is adopted, or that a job begins from).
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace trainerd::server {

// Tokens trained on in the steps that the checkpoint in `folder` holds. Errors: NotFound without a
// state.json, DataLoss when it does not say, Unavailable when it cannot be read now. Memory: a file
// of at most 4 MiB is read, nothing of it is kept.
absl::StatusOr<int64_t> CheckpointTokens(const std::string& folder);

}  // namespace trainerd::server
