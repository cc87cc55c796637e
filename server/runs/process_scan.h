// SPDX-License-Identifier: Apache-2.0
// Finds processes of an attempt when no record names them.
#pragma once

#include <string>
#include <vector>

#include "trainerd/internal/worker.pb.h"

namespace trainerd::server {

// Live processes of this user whose command line has `--attempt-dir <attempt_dir>`: the attempt's
// shim and worker.
std::vector<internal::ProcessId> FindProcessesOfAttempt(const std::string& attempt_dir);

}  // namespace trainerd::server
