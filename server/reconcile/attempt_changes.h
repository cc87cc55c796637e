// SPDX-License-Identifier: Apache-2.0
// The two transactions that open and close an attempt. Each changes the rows, the ledger and the
// events together.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/ledger/disk/run_scan.h"
#include "server/reconcile/retry_policy.h"
#include "server/runs/executor.h"
#include "server/store/rows/job_rows.h"
#include "server/store/writer.h"
#include "trainerd/internal/worker.pb.h"
#include "trainerd/v1/checkpoint.pb.h"

namespace trainerd::server {

struct LaunchDefaults {
  std::string worker_path;
  int cpu_threads = 0;
  // FileStore::Options::dir; empty = there are no uploads.
  std::string files_dir = "";
  // AttemptSpec.output_umask.
  std::optional<uint32_t> output_umask = std::nullopt;
};

// The specification of a job's open attempt. It depends only on the stored rows, so a restarted
// daemon makes the same one.
internal::AttemptSpec MakeSpec(const JobRecord& record, const std::optional<v1::Checkpoint>& resume,
                               const LaunchDefaults& defaults);

struct OpenAttemptRequest {
  std::string job_id;
  // In rank order.
  std::vector<std::string> devices;
  // The resume point; nullopt: start from the beginning.
  std::optional<v1::Checkpoint> resume;
  // JobLedger.resume_from when `resume` was chosen.
  std::string resume_from = "";
};
// Moves a queued job to STARTING with a new attempt. Errors: Aborted when a command has removed the
// job from the queue, or changed what it shall resume from.
absl::StatusOr<JobRecord> OpenAttempt(Transaction& transaction, const OpenAttemptRequest& request);

struct CloseAttemptRequest {
  std::string job_id;
  int attempt = 0;
  const Observation* observation = nullptr;
  // Result of a scan whose status is OK.
  const RunScan* scan = nullptr;
  // Earlier scans failed with read errors.
  bool had_read_errors = false;
  bool boot_changed = false;
  BackoffOptions backoff;
  // In [0, 1).
  double unit_random = 0.5;
};
// Moves times of the ledger that are later than they can be by now: an end is due at most the stop
// grace from now, a retry at most `longest_retry`, and nothing began in the future. Returns whether
// it changed something. Pure.
bool LimitDeadlines(absl::Time now, absl::Duration longest_retry, JobRecord* record);

// Whether the worker exited because its resume point is damaged.
bool ReportsDamaged(const Observation& observation);

// Reason of the condition Degraded while a job's checkpoints cannot be read. Cleared when an
// attempt is closed or opened.
inline constexpr char kUnreadableReason[] = "CHECKPOINTS_UNREADABLE";
// Sets the condition and appends a notice, unless the condition is set already. Returns whether it
// did.
absl::StatusOr<bool> ShowUnreadable(Transaction& transaction, const absl::Status& why,
                                    JobRecord* record);

// Adopts the checkpoints on disk, closes the attempt's row and moves the job to its next state.
absl::StatusOr<JobRecord> CloseAttempt(Transaction& transaction,
                                       const CloseAttemptRequest& request);

}  // namespace trainerd::server
