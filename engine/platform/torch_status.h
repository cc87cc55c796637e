// SPDX-License-Identifier: Apache-2.0
// The one place where LibTorch's exceptions become absl::Status. No other file of the engine has a
// try. Call it at the edges: a public function that runs ATen wraps its body in CatchTorch.
#pragma once

#include <type_traits>

#include "absl/status/status.h"

namespace trainerd::engine {

// Translates the exception in flight. Call it only from a catch block.
// Errors: ResourceExhausted if memory could not be allocated (with the allocator's numbers);
// Unavailable with the cause HARDWARE if the device failed; otherwise Internal with the
// human-readable text.
absl::Status StatusOfCurrentException();

// Runs `body`, which returns void or absl::Status, and converts what it throws into a Status.
template <typename Body>
absl::Status CatchTorch(Body&& body) {
  try {
    if constexpr (std::is_void_v<decltype(body())>) {
      body();
      return absl::OkStatus();
    } else {
      return body();
    }
  } catch (...) {
    return StatusOfCurrentException();
  }
}

}  // namespace trainerd::engine
