// SPDX-License-Identifier: Apache-2.0
// Finds the processes of an attempt without a record of their identity.
#pragma once

#include <string>
#include <vector>

#include "trainerd/internal/worker.pb.h"

namespace trainerd::server {

// The attempt's shim and worker: live processes of this user whose command line has
// `--attempt-dir <attempt_dir>`.
std::vector<internal::ProcessId> FindProcessesOfAttempt(const std::string& attempt_dir);

}  // namespace trainerd::server
