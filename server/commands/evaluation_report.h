// SPDX-License-Identifier: Apache-2.0
// What an evaluator may report.
#pragma once

#include "absl/status/status.h"
#include "trainerd/v1/evaluation.pb.h"

namespace trainerd::server {

// The limits of a report and of its metrics. Errors: InvalidArgument.
absl::Status CheckReport(const v1::ReportEvaluationRequest& request);

// Whether the evaluation has ended with what `request` reports.
bool HasResult(const v1::Evaluation& evaluation, const v1::ReportEvaluationRequest& request);

}  // namespace trainerd::server
