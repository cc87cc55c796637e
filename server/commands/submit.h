// SPDX-License-Identifier: Apache-2.0
// From a SubmitJobRequest to a job that may be stored: configuration resolved, named files there,
// the checkpoint to start from found. Nothing is written here, but that a checkpoint is no longer
// verified that was found damaged.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/runs/device_table.h"
#include "server/store/store.h"
#include "trainerd/internal/store.pb.h"
#include "trainerd/v1/job.pb.h"
#include "trainerd/v1/trainer.pb.h"

namespace trainerd::server {

struct PreparedJob {
  v1::Job job;  // name, config, given, digest, from, run_dir
  internal::JobLedger ledger;
};

// Errors: InvalidArgument with every violation at once; NotFound or FailedPrecondition for what it
// starts from, Unavailable where that cannot be read now.
absl::StatusOr<PreparedJob> PrepareJob(Store& store, const DeviceTable& devices,
                                       const std::string& runs_dir,
                                       const v1::SubmitJobRequest& request, absl::Time now);

// SHA-256 of a request without its request_id: two calls with the same id must be the same call.
std::string RequestHash(const google::protobuf::Message& request);

}  // namespace trainerd::server
