// SPDX-License-Identifier: Apache-2.0
// Memory of this process as the kernel counts it.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace trainerd::engine {

struct ProcessMemory {
  int64_t resident_bytes = 0;
  int64_t peak_resident_bytes = 0;
};

// Reads /proc/self/status. Absent if it cannot be read.
std::optional<ProcessMemory> ReadProcessMemory();
// The same from the text of a status file; absent if VmRSS or VmHWM is missing.
std::optional<ProcessMemory> ParseProcessStatus(std::string_view status);

}  // namespace trainerd::engine
