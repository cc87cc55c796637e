// SPDX-License-Identifier: Apache-2.0
// config.depends_on: what a job waits for, when that holds, and when it never will. No cycle can
// exist: a job names only jobs that exist when it is submitted, and depends_on never changes.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/store/rows/job_rows.h"
#include "server/store/writer.h"
#include "trainerd/v1/job.pb.h"

namespace trainerd::server {

enum class DependencyOutcome { kPending, kHolds, kImpossible };

// Whether a job in this state meets the condition, may do so later, or never will. Pure.
DependencyOutcome JudgeDependency(v1::DependencyConfig::Condition condition, const v1::Job& on);

// Records what a new job waits for, in its ledger and in the table. Errors: NotFound with reason
// JOB_NOT_FOUND for a job that does not exist or is being deleted.
absl::Status AddDependencies(Transaction& transaction, JobRecord* record);

// The error of AddDependencies, before anything is stored.
absl::Status CheckDependencies(Connection& db, const v1::JobConfig& config);

// Removes what the job still waits for, because it has ended. Changes the record without storing
// it.
absl::Status DropDependencies(Transaction& transaction, JobRecord* record);

// Carries one part of the news about a job that ended or got a checkpoint to the jobs that wait for
// it: each of them continues, waits for the rest, or is FAILED with cause DEPENDENCY. False: there
// is no news. Call again while true.
absl::StatusOr<bool> WakeDependents(Transaction& transaction);

// Whether init_from names a job of depends_on whose checkpoint is not known yet: it is resolved
// when this job first starts.
bool StartsFromDependency(const v1::JobConfig& config);

}  // namespace trainerd::server
