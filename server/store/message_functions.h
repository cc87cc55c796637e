// SPDX-License-Identifier: Apache-2.0
// SQL functions with which a migration (store/schema/*.sql) changes stored messages:
//   upgraded(TYPE, MESSAGE)                         a message of an older build, by UpgradeFields
//   checkpoint_with_tokens(CHECKPOINT, ID, LEDGER)  with the tokens that an older JobLedger holds
//   ledger_without_tokens(LEDGER)                   without them
//   job_name(JOB), job_create_time(JOB)             config.name; the time in microseconds
//   labels_json(JOB)                                config.labels as a JSON object
//   owned_by_daemon(JOB), daemon_user()             with the daemon's user as its owner; that user
#pragma once

#include "absl/status/status.h"
#include "server/store/sqlite.h"

namespace trainerd::server {

// Makes the functions known to `db`. They fail, and so the migration does, for a message that does
// not parse or has no current form; the error names it.
absl::Status AddMessageFunctions(Connection& db);

}  // namespace trainerd::server
