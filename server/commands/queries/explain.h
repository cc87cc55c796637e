// SPDX-License-Identifier: Apache-2.0
// Why a job is in its state, and what would change that: in words, from one read of the database.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/ledger/queue_rules.h"
#include "server/store/rows/job_rows.h"
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
  // The first of them, in the order of the queue.
  std::vector<QueueEntry> candidates = {};
  // All devices, with the progress of the job that holds each.
  struct Holder {
    v1::Device device;
    v1::Progress progress;
  };
  std::vector<Holder> devices;
  // The jobs that hold devices.
  std::vector<RunningJob> running = {};
  QueueRules rules = {};
  absl::Time now;
  // Store::SteadyNow.
  absl::Time steady_now;
};

// Pure.
v1::Explanation Explain(const ExplainInput& input);

// Reads the input and explains. Errors: InvalidArgument and NotFound for the name.
absl::StatusOr<v1::Explanation> ExplainJob(Store& store, std::vector<v1::Device> devices,
                                           const QueueRules& rules, const std::string& name);

}  // namespace trainerd::server
