// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace trainerd::engine {

// Bytes [begin, end) of a text.
struct TextSpan {
  uint32_t begin = 0, end = 0;
};

}  // namespace trainerd::engine
