// SPDX-License-Identifier: Apache-2.0
// A full disk is detected before gigabytes are written.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"

namespace trainerd {

// A file system with less free space has too little for every job.
inline constexpr int64_t kLeastFreeBytes = int64_t{1} << 30;

// Returns ResourceExhausted with both numbers if fewer than `needed` bytes are free on the file
// system of `path` (FreeBytes).
absl::Status CheckSpace(const std::string& path, int64_t needed);

}  // namespace trainerd
