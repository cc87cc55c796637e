// SPDX-License-Identifier: Apache-2.0
// The two changes that open and close an attempt. Each is one transaction: rows, ledger and events
// together.
#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "server/ledger/run_scan.h"
#include "server/reconcile/retry_policy.h"
#include "server/runs/executor.h"
#include "server/store/job_rows.h"
#include "server/store/writer.h"
#include "trainerd/internal/worker.pb.h"
#include "trainerd/v1/checkpoint.pb.h"

namespace trainerd::server {

struct LaunchDefaults {
  std::string worker_path;
  int cpu_threads = 0;
};

// What the open attempt of a job is to do, from the stored rows: the same before and after a
// restart of the daemon.
internal::AttemptSpec MakeSpec(const JobRecord& record, const std::optional<v1::Checkpoint>& resume,
                               const LaunchDefaults& defaults);

struct OpenAttemptRequest {
  std::string job_id;
  std::string device;
  std::optional<v1::Checkpoint> resume;  // the resume point; nullopt = the beginning
};
// Moves a queued job to STARTING with a new attempt. Errors: Aborted when the job is not waiting
// any more (a command came first).
absl::StatusOr<JobRecord> OpenAttempt(Transaction& transaction, const OpenAttemptRequest& request);

struct CloseAttemptRequest {
  std::string job_id;
  int attempt = 0;
  const Observation* observation = nullptr;
  const RunScan* scan = nullptr;  // of a scan that did not fail
  // Checkpoints could not be read for a while before the scan succeeded.
  bool had_read_errors = false;
  bool boot_changed = false;
  BackoffOptions backoff;
  double unit_random = 0.5;  // in [0, 1)
};
// The worker left because its resume point is damaged.
bool ReportsDamaged(const Observation& observation);

// Conditions of a job whose checkpoints cannot be read at present: set by whoever meets the error,
// cleared when an attempt is closed or opened.
inline constexpr char kUnreadableReason[] = "CHECKPOINTS_UNREADABLE";
// Shows it (condition Degraded, and a notice the first time). True when it was not shown before.
absl::StatusOr<bool> ShowUnreadable(Transaction& transaction, const absl::Status& why,
                                    JobRecord* record);

// Adopts what is on disk, closes the attempt's row and moves the job to where its end leads.
absl::StatusOr<JobRecord> CloseAttempt(Transaction& transaction,
                                       const CloseAttemptRequest& request);

}  // namespace trainerd::server
