// SPDX-License-Identifier: Apache-2.0
// A job file by hand: YAML → resolved configuration, as the client and the daemon make it of a
// submitted one.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "trainerd/v1/job_config.pb.h"

namespace trainerd::engine {

// Reads, makes paths absolute against the file's folder, fills in defaults and checks.
// Errors: InvalidArgument that lists every fault as file:line: path: message.
absl::StatusOr<v1::JobConfig> ReadJobFile(const std::string& path);

}  // namespace trainerd::engine
