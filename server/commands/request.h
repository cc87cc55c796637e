// SPDX-License-Identifier: Apache-2.0
// What holds for the requests of all RPCs, as the head of trainer.proto states it: the form of
// names, the sizes of texts and lists, and what a text may hold.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/message.h"
#include "proto/contract/job/names.h"

namespace trainerd::server {

// The parent of all jobs, where a request takes it.
inline constexpr char kAllJobs[] = "jobs/-";

// The id of the job that `field` of a request names: jobs/ID or ID. Errors: InvalidArgument with
// reason INVALID_NAME.
absl::StatusOr<std::string> RequestedJob(const std::string& field, const std::string& name);

// As RequestedJob, or the checkpoint jobs/ID/checkpoints/ID.
absl::StatusOr<ResourceName> RequestedJobOrCheckpoint(const std::string& field,
                                                      const std::string& name);

// The name of a checkpoint in full. Errors: as RequestedJob.
absl::Status RequestedCheckpoint(const std::string& field, const std::string& name);

// Errors: InvalidArgument when the request_id is too long.
absl::Status CheckRequestId(const std::string& request_id);

// The duration that `field` of a request holds, from 0 to `max`. Errors: InvalidArgument.
absl::StatusOr<absl::Duration> RequestedDuration(const std::string& field,
                                                 const google::protobuf::Duration& duration,
                                                 absl::Duration max);

// Checks the texts and lists of a request, but not its configuration, which has limits of its own
// (job_config_rules), and not its names. Errors: InvalidArgument with the field.
absl::Status CheckRequest(const google::protobuf::Message& request);

}  // namespace trainerd::server
