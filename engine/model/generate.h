// SPDX-License-Identifier: Apache-2.0
// Greedy generation with a key/value cache, for samples during training and
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
  // Generation ends at any of them; the stop token is not part of the result.
  std::vector<int32_t> stop_ids;
  // Called before each token if set; true ends the generation with Cancelled.
  std::function<bool()> cancelled;
};

// Returns the tokens after `prompt`: the most likely one each time (the lowest id among equals),
// until a stop id, max_tokens, or the model's last position. Errors: InvalidArgument for an empty
// prompt, an id outside the vocabulary, or a prompt that fills all positions; Cancelled;
// ResourceExhausted.
absl::StatusOr<std::vector<int32_t>> GenerateGreedy(Decoder& decoder,
                                                    absl::Span<const int32_t> prompt,
                                                    const GenerateOptions& options);

}  // namespace trainerd::engine
