// SPDX-License-Identifier: Apache-2.0
// The rules for output.path: the daemon checks them at submit, the worker at its start and before
// it publishes.
#pragma once

#include <string>

#include "absl/status/status.h"

namespace trainerd {

// Whether the job `job` may create the folder `path`, which is absolute and normal. It does not
// exist (or its manifest names this job), its names are legal, its nearest existing parent is a
// folder in which this process may create one, and it lies neither in /proc or /sys nor in a state
// directory or run directory, also through links.
// Errors: FailedPrecondition, InvalidArgument or PermissionDenied with the reason, which begins
// with the path and says what to do.
absl::Status CheckOutputPath(const std::string& path, const std::string& job);

}  // namespace trainerd
