// SPDX-License-Identifier: Apache-2.0
// QueryMetrics: curves from stored columns, and from the events that are not in columns yet.
#pragma once

#include "absl/status/statusor.h"
#include "server/store/store.h"
#include "trainerd/v1/trainer.pb.h"

namespace trainerd::server {

absl::StatusOr<v1::QueryMetricsResponse> QueryMetrics(Store& store,
                                                      const v1::QueryMetricsRequest& request);

}  // namespace trainerd::server
