// SPDX-License-Identifier: Apache-2.0
// UpdateJobRequest → the changes of a stored job. Which keys can change is data: knob.live.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/store/rows/job_rows.h"
#include "server/store/writer.h"
#include "trainerd/v1/trainer.pb.h"

namespace trainerd::server {

// The paths that update_mask may name, "config.priority".
const std::vector<std::string>& LivePaths();

// What can be said against the request without the job. Returns the paths of its update_mask.
// Errors: InvalidArgument, with reason NOT_LIVE for a path that cannot be updated.
absl::StatusOr<std::set<std::string>> CheckUpdate(const v1::UpdateJobRequest& request);

// Changes the record and appends the event, all or nothing; nothing is stored if every value is
// already what the request sets. `paths`: those that CheckUpdate returned. Returns the paths that
// changed. Errors: InvalidArgument for a value that a submit would refuse; FailedPrecondition with
// reason JOB_TERMINAL.
absl::StatusOr<std::vector<std::string>> ApplyUpdate(Transaction& transaction,
                                                     const v1::UpdateJobRequest& request,
                                                     const std::set<std::string>& paths,
                                                     JobRecord* record);

}  // namespace trainerd::server
