// SPDX-License-Identifier: Apache-2.0
#include "engine/formats/finite.h"

#include <algorithm>
#include <cstring>

#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

// A value is not finite if all bits of its exponent are set.
template <typename Bits>
std::optional<int64_t> FirstWithExponent(std::string_view bytes, Bits exponent) {
  constexpr size_t kBlock = 1024;
  const size_t count = bytes.size() / sizeof(Bits);
  Bits block[kBlock] = {};
  for (size_t begin = 0; begin < count; begin += kBlock) {
    const size_t size = std::min(kBlock, count - begin);
    // Files do not align tensors to their element size.
    std::memcpy(block, bytes.data() + begin * sizeof(Bits), size * sizeof(Bits));
    Bits found = 0;
    for (size_t i = 0; i < kBlock; ++i)
      found = static_cast<Bits>(found | static_cast<Bits>((block[i] & exponent) == exponent));
    for (size_t i = 0; found != 0 && i < size; ++i) {
      if ((block[i] & exponent) == exponent) return static_cast<int64_t>(begin + i);
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<int64_t> FirstNonFinite(std::string_view bytes, StoredDtype dtype) {
  TRAINERD_CHECK(dtype == StoredDtype::kFloat32 || dtype == StoredDtype::kBFloat16 ||
                 dtype == StoredDtype::kFloat16);
  if (dtype == StoredDtype::kFloat32)
    return FirstWithExponent<uint32_t>(bytes, uint32_t{0x7f800000});
  return FirstWithExponent<uint16_t>(
      bytes, dtype == StoredDtype::kBFloat16 ? uint16_t{0x7f80} : uint16_t{0x7c00});
}

}  // namespace trainerd::engine
