// SPDX-License-Identifier: Apache-2.0
// The checkpoint of another job that a job starts from. Read-only, with one exception: a base
// checkpoint that fails the quick check is marked corrupt.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/contract/config/config_violation.h"
#include "server/store/store.h"
#include "trainerd/internal/store.pb.h"
#include "trainerd/v1/checkpoint.pb.h"
#include "trainerd/v1/event.pb.h"
#include "trainerd/v1/job.pb.h"

namespace trainerd::server {

// A job whose start is being resolved.
struct PreparedJob {
  // At submit with name, config, given, config_digest, base and run_dir.
  v1::Job job;
  internal::JobLedger ledger;
  // What the user must know before the job starts. They become findings of validate_only, or events
  // of the job.
  std::vector<v1::Notice> notices;
  // SHA-256 of the uploads that it names.
  std::vector<std::string> uploads = {};
};

// Appends them as events of the job `name`.
absl::Status AppendNotices(Transaction& transaction, const std::string& name,
                           const std::vector<v1::Notice>& notices);

// The checkpoint `name`, or the resume point of the job `name`, which passes the quick check (the
// worker compares the hashes when it loads the checkpoint). A checkpoint that fails is marked
// corrupt; if `name` is a job, an older checkpoint is used instead, with a notice. Errors: NotFound
// or FailedPrecondition, Unavailable when an I/O error prevents the check.
absl::StatusOr<v1::Checkpoint> OpenBase(Store& store, const std::string& name,
                                        std::vector<v1::Notice>* notices);

absl::StatusOr<v1::Job> LoadJobOf(Store& store, const std::string& name);

// The job's lineage begins at a checkpoint of `step`, so its progress does too.
void BeginFrom(int64_t step, int64_t tokens, PreparedJob* prepared);

// Whether the job and what it starts from are both with or both without an adapter.
bool CheckForm(const v1::JobConfig& config, const std::string& folder, bool holds_adapter,
               std::vector<ConfigViolation>* violations);

// Makes `source`, as OpenBase takes it, what the job starts from. With the full state, the job
// takes over step, tokens and alerts of the checkpoint. Errors: of OpenBase.
absl::Status ResolveCheckpoint(Store& store, const std::string& source, PreparedJob* prepared,
                               std::vector<ConfigViolation>* violations);

// What can be said against init_from before the job that it names has a checkpoint: the
// configurations do not fit together.
absl::Status CheckDependencyAsStart(Store& store, const PreparedJob& prepared,
                                    std::vector<ConfigViolation>* violations);

}  // namespace trainerd::server
