// SPDX-License-Identifier: Apache-2.0
// Reflected polynomial 0x82f63b78. The tables are made by the compiler ("slicing by eight",
// Kounavis and Berry 2005).
#include "proto/base/crc32c.h"

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace trainerd {
namespace {

constexpr uint32_t kPolynomial = 0x82f63b78u;
using Tables = std::array<std::array<uint32_t, 256>, 8>;

constexpr Tables MakeTables() {
  Tables tables{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? kPolynomial : 0);
    tables[0][byte] = crc;
  }
  for (size_t slice = 1; slice < tables.size(); ++slice) {
    for (uint32_t byte = 0; byte < 256; ++byte) {
      const uint32_t before = tables[slice - 1][byte];
      tables[slice][byte] = (before >> 8) ^ tables[0][before & 0xff];
    }
  }
  return tables;
}

constexpr Tables kTables = MakeTables();

uint32_t TableStep(uint32_t crc, unsigned char byte) {
  return (crc >> 8) ^ kTables[0][(crc ^ byte) & 0xff];
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) uint32_t Crc32cByHardware(std::string_view data) {
  uint64_t crc = 0xffffffffu;
  const char* next = data.data();
  size_t left = data.size();
  for (; left >= 8; next += 8, left -= 8) {
    uint64_t word;
    std::memcpy(&word, next, sizeof(word));
    crc = _mm_crc32_u64(crc, word);
  }
  uint32_t crc32 = static_cast<uint32_t>(crc);
  for (; left > 0; ++next, --left) {
    crc32 = _mm_crc32_u8(crc32, static_cast<unsigned char>(*next));
  }
  return ~crc32;
}
#endif

}  // namespace

uint32_t Crc32cByTable(std::string_view data) {
  uint32_t crc = 0xffffffffu;
  const auto* next = reinterpret_cast<const unsigned char*>(data.data());
  size_t left = data.size();
  for (; left >= 8; next += 8, left -= 8) {
    // Assembled by shifts, so that the result does not depend on the byte order of the machine.
    const uint32_t low = crc ^ (uint32_t{next[0]} | uint32_t{next[1]} << 8 |
                                uint32_t{next[2]} << 16 | uint32_t{next[3]} << 24);
    crc = kTables[7][low & 0xff] ^ kTables[6][(low >> 8) & 0xff] ^ kTables[5][(low >> 16) & 0xff] ^
          kTables[4][low >> 24] ^ kTables[3][next[4]] ^ kTables[2][next[5]] ^ kTables[1][next[6]] ^
          kTables[0][next[7]];
  }
  for (; left > 0; ++next, --left) crc = TableStep(crc, *next);
  return ~crc;
}

uint32_t Crc32c(std::string_view data) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("sse4.2")) return Crc32cByHardware(data);
#endif
  return Crc32cByTable(data);
}

}  // namespace trainerd
