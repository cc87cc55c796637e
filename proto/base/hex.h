// SPDX-License-Identifier: Apache-2.0
// Bytes out of hexadecimal digits. The other direction is ToHex (hash.h).
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace trainerd {

// Both cases of the digits. nullopt: another character, or an odd number of digits.
std::optional<std::string> FromHex(std::string_view hex);

}  // namespace trainerd
