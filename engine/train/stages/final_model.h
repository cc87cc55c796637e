// SPDX-License-Identifier: Apache-2.0
// The stage SaveFinal: <run dir>/final and output.path, Hugging Face folders that appear complete
// and verified or not at all.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "engine/train/attempt_context.h"

namespace trainerd::engine {

// Writes final/ in the source's dtype (or keeps a verified one of this job, step and configuration,
// which a crash after the rename left), copies it to output.path, and emits the RunSummary. Errors:
// cause STORAGE with the numbers when it cannot be written; Cancelled when a discard is wanted.
absl::Status SaveFinal(AttemptContext& context);

// OK when `path` is empty, does not exist, or holds a model of `job` (a former attempt's). Errors:
// FailedPrecondition otherwise.
absl::Status CheckOutputPath(const std::string& path, const std::string& job);

}  // namespace trainerd::engine
