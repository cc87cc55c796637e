// SPDX-License-Identifier: Apache-2.0
// What the command of `trainctl evaluate --worker` prints on stdout → what is reported.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "trainerd/v1/evaluation.pb.h"

namespace trainerd::client {

// Reads the JSON object that is the whole output, or its last line that is not empty:
//   {"acc": 0.61, "loss": {"value": 1.9, "sample_count": 500, "standard_error": 0.02,
//                          "lower_is_better": true}}
// or {"metrics": {…}, "artifacts": ["https://…"]} with such metrics. Errors: InvalidArgument.
absl::StatusOr<v1::ReportEvaluationRequest> ParseEvaluationOutput(const std::string& output);

}  // namespace trainerd::client
