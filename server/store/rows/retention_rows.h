// SPDX-License-Identifier: Apache-2.0
// What retention keeps beside the checkpoints: which of them time alone may remove, and whose files
// are being removed. A checkpoint is marked as deleted first; its files follow, also after a crash.
// Each function uses the given connection: the writer's in a change, a reader's in a read.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/store/sqlite.h"

namespace trainerd::server {

// When retention must check the checkpoint again, by the system's clock; InfiniteFuture: not
// because of the time.
absl::Status StoreDueTime(Connection& db, std::string_view job_id, std::string_view checkpoint_id,
                          absl::Time due);
// Ids of jobs with checkpoints that are due.
absl::StatusOr<std::vector<std::string>> JobsWithDueCheckpoints(Connection& db, absl::Time now,
                                                                int limit);

// Ids of jobs that have checkpoints, or files that are being removed, in the order of ids.
absl::StatusOr<std::vector<std::string>> JobsWithFiles(Connection& db);

absl::Status StoreRemoval(Connection& db, std::string_view job_id, std::string_view checkpoint_id);
// Once the files no longer exist.
absl::Status DeleteRemoval(Connection& db, std::string_view job_id, std::string_view checkpoint_id);
// Ids of checkpoints.
absl::StatusOr<std::vector<std::string>> ListRemovals(Connection& db, std::string_view job_id);
// Ids of jobs.
absl::StatusOr<std::vector<std::string>> JobsWithRemovals(Connection& db);

// Resource names of what clients download (ledger/downloads_in_use.h).
absl::StatusOr<std::set<std::string>> ListDownloads(Connection& db);
absl::Status AddDownload(Connection& db, std::string_view model);
absl::Status RemoveDownload(Connection& db, std::string_view model);

}  // namespace trainerd::server
