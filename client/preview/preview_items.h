// SPDX-License-Identifier: Apache-2.0
// Reads the lines that `trainerd-inspect preview --json` prints. Errors of the readers: Internal,
// naming what trainerd-inspect printed that does not fit.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/contract/job/preview_text.h"

namespace trainerd::client {

// One JSON object per line.
absl::StatusOr<std::vector<nlohmann::json>> ParseJsonLines(const std::string& text);

// Lines of `preview --json`.
absl::StatusOr<std::vector<PreviewItem>> ReadExamples(const std::vector<nlohmann::json>& rows);

// Lines of `preview --packed --json`: the conversations of each packed sequence, in their order.
absl::StatusOr<std::vector<PreviewItem>> ReadPackedRows(const std::vector<nlohmann::json>& rows);

}  // namespace trainerd::client
