// SPDX-License-Identifier: Apache-2.0
// CRC32C (Castagnoli), the checksum of spool frames. SSE4.2 where the CPU has it, tables elsewhere:
// same values.
#pragma once

#include <cstdint>
#include <string_view>

namespace trainerd {

// CRC32C of `data` (RFC 3720, B.4). Crc32c("123456789") = 0xe3069283.
uint32_t Crc32c(std::string_view data);

// The same by tables alone, eight bytes at a time; what a CPU without SSE4.2 runs.
uint32_t Crc32cByTable(std::string_view data);

}  // namespace trainerd
