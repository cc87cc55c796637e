// SPDX-License-Identifier: Apache-2.0
// Lists of jobs: all pages of ListJobs, and label selectors from flags.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "client/net/connection.h"
#include "trainerd/v1/trainer.pb.h"

namespace trainerd::client {

// All jobs of the request, at most `limit` (0 = all), with the cursor of the first page: events
// during the other pages are repeated rather than missed.
absl::StatusOr<v1::ListJobsResponse> ListAllJobs(Connection& connection,
                                                 v1::ListJobsRequest request, int limit);

// The label selector for the jobs of a group.
std::string GroupSelector(std::string_view group);

// Both must hold; an empty one always does.
std::string JoinSelectors(const std::string& a, const std::string& b);

}  // namespace trainerd::client
