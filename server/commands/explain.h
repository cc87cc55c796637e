// SPDX-License-Identifier: Apache-2.0
// Why a job is in its state, and what would change that: in words, from one read of the database.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/store/job_rows.h"
#include "server/store/store.h"
#include "trainerd/v1/trainer.pb.h"

namespace trainerd::server {

// What the explanation of a job depends on besides itself.
struct ExplainInput {
  JobRecord record;
  // The jobs that config.depends_on still waits for, in its order.
  std::vector<v1::Job> pending;
  // Of a job that only a device keeps waiting: jobs of the queue that come first.
  std::optional<int64_t> jobs_before;
  // All devices, with the progress of the job that holds each.
  struct Holder {
    v1::Device device;
    v1::Progress progress;
  };
  std::vector<Holder> devices;
  absl::Time now;
};

// Pure.
v1::Explanation Explain(const ExplainInput& input);

// Reads the input and explains. Errors: InvalidArgument and NotFound for the name.
absl::StatusOr<v1::Explanation> ExplainJob(Store& store, std::vector<v1::Device> devices,
                                           const std::string& name);

}  // namespace trainerd::server
