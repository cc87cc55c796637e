// SPDX-License-Identifier: Apache-2.0
// Which job waits for which: the table dependencies has one row for each condition that a waiting
// job still waits for. A job that ends, or gets a checkpoint, while another one waits for that is
// noted in dependency_news in the same transaction: whoever reads the note wakes the others, also
// after a crash.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/store/sqlite.h"
#include "trainerd/v1/job.pb.h"

namespace trainerd::server {

// `job` waits until `on_job` meets `condition`. Ids, without jobs/.
struct DependencyRow {
  std::string job;
  std::string on_job;
  v1::DependencyConfig::Condition condition = v1::DependencyConfig::CONDITION_UNSPECIFIED;
};
absl::Status StoreDependency(Connection& db, const DependencyRow& row);
absl::Status DeleteDependency(Connection& db, const DependencyRow& row);

// Notes that others may have to be woken, if any waits for what `job` now is: ended, or with a
// checkpoint. StoreJob calls it.
absl::Status NoteForDependents(Connection& db, std::string_view id, const v1::Job& job);

// A job with a note.
absl::StatusOr<std::optional<std::string>> FirstNote(Connection& db);
absl::Status DeleteNote(Connection& db, std::string_view on_job);
// Ids of jobs that wait for `on_job`; with `for_checkpoint`, only for a checkpoint of it.
absl::StatusOr<std::vector<std::string>> ListDependents(Connection& db, std::string_view on_job,
                                                        bool for_checkpoint, int limit);

}  // namespace trainerd::server
