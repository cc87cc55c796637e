// SPDX-License-Identifier: Apache-2.0
// What the result of an evaluation means for its job: metrics of the checkpoint, the best
// checkpoint, and the alert evaluation_regression.
#pragma once

#include "absl/status/status.h"
#include "server/store/rows/evaluation_rows.h"
#include "server/store/writer.h"

namespace trainerd::server {

// Call once, when `record` has become COMPLETED. The result is compared with the best earlier one
// of the same entry and with those of what training started from.
absl::Status RecordResult(Transaction& transaction, const EvaluationRecord& record);

}  // namespace trainerd::server
