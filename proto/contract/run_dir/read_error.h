// SPDX-License-Identifier: Apache-2.0
// What an error about files on disk proves. An I/O error has the code of damage (ErrnoStatus), so
// the two are told apart by reading: damage is believed when every byte can be read and is wrong.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace trainerd {

// Whether an error says what is on the disk (absent, damaged, of another kind or format). Any other
// one only says that it could not be looked at now, and decides nothing.
bool IsConclusive(const absl::Status& status);

// The answer of `look`, which reads `paths`; where that is DataLoss, only if each of them can be
// read to its end and a second look says the same. Errors: those of `look`; Unavailable naming the
// file that cannot be read.
absl::Status ConfirmCorruption(const std::vector<std::string>& paths,
                               const std::function<absl::Status()>& look);

// Unavailable, with the text of `status`.
absl::Status InconclusiveReadError(const absl::Status& status);

}  // namespace trainerd
