// SPDX-License-Identifier: Apache-2.0
// Conclusive and inconclusive errors of reading files. An I/O error has the same status code as
// corruption (ErrnoStatus), so reading distinguishes the two: corruption is confirmed if every byte
// can be read and the check fails again.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace trainerd {

// Whether an error is conclusive: the file is missing, corrupt, or of another kind or format. Any
// other error is temporary and decides nothing.
bool IsConclusive(const absl::Status& status);

// Returns the result of `check`, which reads `paths`. If it is DataLoss, each path must be readable
// to its end and a second check must fail too. Errors: those of `check`; Unavailable with the path
// that cannot be read.
absl::Status ConfirmCorruption(const std::vector<std::string>& paths,
                               const std::function<absl::Status()>& check);

// Unavailable, with the text of `status`.
absl::Status InconclusiveReadError(const absl::Status& status);

}  // namespace trainerd
