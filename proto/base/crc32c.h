// SPDX-License-Identifier: Apache-2.0
// CRC32C (Castagnoli), the checksum of spool frames. Uses SSE4.2 if the CPU has it, else
// tables; the values are the same.
#pragma once

#include <cstdint>
#include <string_view>

namespace trainerd {

// CRC32C of `data` (RFC 3720, B.4). Crc32c("123456789") = 0xe3069283.
uint32_t Crc32c(std::string_view data);

// The implementation for CPUs without SSE4.2: tables, eight bytes at a time.
uint32_t Crc32cByTable(std::string_view data);

}  // namespace trainerd
