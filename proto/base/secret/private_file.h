// SPDX-License-Identifier: Apache-2.0
// Files that hold a secret.
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace trainerd {

// The contents of a regular file that only its owner can access: this process's user or root, with
// no permission for group and others. At most 64 KiB. Errors: FailedPrecondition with what to
// change; those of OpenRegularFile.
absl::StatusOr<std::string> ReadPrivateFile(const std::string& path);

}  // namespace trainerd
