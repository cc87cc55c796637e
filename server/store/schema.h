// SPDX-License-Identifier: Apache-2.0
// Versions of the database and the migrations between them. The SQL is in store/schema/NNNN_*.sql
// and is embedded at build time.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/store/sqlite.h"

namespace trainerd::server {

// SQL texts in order; migrations[i] migrates version i to i + 1.
const std::vector<std::string>& Migrations();

// Migrates the database at `path` to the newest version, each step in its own transaction, and
// returns that version. Before the first step from an existing version N it writes a backup,
// PATH.vN.backup. A new database gets its identity (meta "database_id"). Errors: FailedPrecondition
// if a newer trainerd wrote the database.
absl::StatusOr<int> Migrate(Connection& db, const std::string& path,
                            const std::vector<std::string>& migrations);

}  // namespace trainerd::server
