// SPDX-License-Identifier: Apache-2.0
// Whether an error while reading files is conclusive. An I/O error has the status code of
// corruption (ErrnoStatus), so corruption must be confirmed: every byte can be read, and the check
// fails again.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace trainerd {

// Whether an error describes what is on the disk: missing, corrupt, of another type or format. Any
// other error (I/O error, permission, no file descriptors) is temporary and decides nothing.
bool IsConclusive(const absl::Status& status);

// Result of `check`, which reads `paths`. DataLoss is returned only if every existing path can be
// read to its end and a second `check` fails too. Errors: those of `check`; Unavailable with the
// file that cannot be read.
absl::Status ConfirmCorruption(const std::vector<std::string>& paths,
                               const std::function<absl::Status()>& check);

// Unavailable, with the text of `status`.
absl::Status InconclusiveReadError(const absl::Status& status);

}  // namespace trainerd
