// SPDX-License-Identifier: Apache-2.0
// Who uses a checkpoint, as far as the database knows: retention keeps what is used.
#pragma once

#include <set>
#include <string>

#include "absl/status/status.h"
#include "server/store/rows/job_rows.h"
#include "server/store/sqlite.h"

namespace trainerd::server {

// Adds the names of the job's checkpoints that something uses: its open attempt or its next one,
// jobs that start from them or wait to do so, and open evaluations. Names of checkpoints of other
// jobs can be among them.
absl::Status AddCheckpointUses(Connection& db, const JobRecord& record,
                               std::set<std::string>* names);

}  // namespace trainerd::server
