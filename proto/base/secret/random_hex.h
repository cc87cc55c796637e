// SPDX-License-Identifier: Apache-2.0
// Random names and secrets.
#pragma once

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"

namespace trainerd {

// `bytes` random bytes as hexadecimal digits; nobody can predict them. Errors: Internal (the system
// has no random numbers).
absl::StatusOr<std::string> RandomHex(size_t bytes);

}  // namespace trainerd
