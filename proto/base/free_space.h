// SPDX-License-Identifier: Apache-2.0
// A full disk is detected before gigabytes are written.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"

namespace trainerd {

// Returns ResourceExhausted with both numbers if fewer than `needed` bytes are free on the file
// system of `path` (FreeBytes).
absl::Status CheckSpace(const std::string& path, int64_t needed);

}  // namespace trainerd
