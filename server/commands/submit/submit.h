// SPDX-License-Identifier: Apache-2.0
// SubmitJobRequest → a job that can be stored: resolves the configuration, checks the named paths
// (path_policy, file_checks), finds the checkpoint to start from. Read-only, with two exceptions: a
// base checkpoint that fails the quick check is marked corrupt, and the uploads that the job names
// get the names that it uses.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/commands/submit/path_policy.h"
#include "server/files/file_store.h"
#include "server/ledger/base_checkpoint.h"
#include "server/outbox/notify_targets.h"
#include "server/runs/device_table.h"
#include "server/store/caller.h"
#include "server/store/store.h"
#include "trainerd/v1/job.pb.h"
#include "trainerd/v1/trainer.pb.h"

namespace trainerd::server {

// What PrepareJob uses.
struct SubmitParts {
  Store& store;
  const DeviceTable& devices;
  const PathPolicy& paths;
  const NotifyTargets& notify;
  const std::string& runs_dir;
  // Null: there are no uploads.
  FileStore* files = nullptr;
};

// Why the job cannot have its output.path: another job that can still run has it, or one is inside
// the other. Empty: it can.
absl::StatusOr<std::string> OutputConflict(Connection& db, const PreparedJob& prepared);

// The job belongs to the caller. Errors: InvalidArgument with all violations of
// configuration, files and device, and with reason INVALID_NAME for names; NotFound or
// FailedPrecondition for the base checkpoint, Unavailable when an I/O error prevents its check;
// NotFound for a job of depends_on and for an upload; FailedPrecondition with reason
// NOTHING_TO_TRAIN when no step is left.
absl::StatusOr<PreparedJob> PrepareJob(const SubmitParts& parts,
                                       const v1::SubmitJobRequest& request, const Caller& caller,
                                       absl::Time now);

}  // namespace trainerd::server
