// SPDX-License-Identifier: Apache-2.0
// The queries of the API. Each is one read transaction; its cursor continues exactly after it. No
// gRPC here.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/events/watch.h"
#include "server/store/store.h"
#include "trainerd/v1/trainer.pb.h"

namespace trainerd::server {

absl::StatusOr<v1::Job> GetJob(Store& store, const std::string& name);
absl::StatusOr<v1::ListAttemptsResponse> ListAttempts(Store& store,
                                                      const v1::ListAttemptsRequest& request);
absl::StatusOr<v1::ListCheckpointsResponse> ListCheckpoints(
    Store& store, const v1::ListCheckpointsRequest& request);

// StreamStatusRequest → filter, position and snapshot for the fan-out. Errors: InvalidArgument,
// NotFound, OutOfRange (CURSOR_EXPIRED).
absl::StatusOr<WatchOptions> MakeWatch(Store& store, const v1::StreamStatusRequest& request);

}  // namespace trainerd::server
