// SPDX-License-Identifier: Apache-2.0
// What all jobs have used in a period, in sum or by group.
#pragma once

#include "absl/status/statusor.h"
#include "server/store/store.h"
#include "trainerd/v1/trainer.pb.h"

namespace trainerd::server {

// One read of the database. Errors: InvalidArgument.
absl::StatusOr<v1::QueryUsageResponse> QueryUsage(Store& store,
                                                  const v1::QueryUsageRequest& request);

}  // namespace trainerd::server
