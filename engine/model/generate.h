// SPDX-License-Identifier: Apache-2.0
// Greedy continuation of a token sequence with a key/value cache: samples during training and
// `trainerd-worker sample`.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "engine/model/decoder.h"

namespace trainerd::engine {

struct GenerateOptions {
  int64_t max_tokens = 64;
  std::vector<int32_t>
      stop_ids;  // generation ends at any of them; the stop token is not part of the result
  std::function<bool()> cancelled;  // asked once a token when set
};

// Appends the most likely token (the lowest id among equals) until a stop id, max_tokens, or the
// model's last position. Errors: InvalidArgument for an empty prompt or an id outside the
// vocabulary; Cancelled; ResourceExhausted.
absl::StatusOr<std::vector<int32_t>> GenerateGreedy(Decoder& decoder,
                                                    absl::Span<const int32_t> prompt,
                                                    const GenerateOptions& options);

}  // namespace trainerd::engine
