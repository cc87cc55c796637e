// SPDX-License-Identifier: Apache-2.0
// Preference tuning of a decoder: the log-probabilities of the answers of a batch of pairs, their
// losses, and the gradients. Legend: P pairs.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

#include "engine/model/decoder.h"
#include "engine/ops/preference.h"
#include "trainerd/v1/event.pb.h"

namespace trainerd::engine {

// Sums over pairs, fp64 [kPairSums] on the device: losses, rewards of the chosen and of the
// rejected answers, pairs whose margin is above 0, log-probabilities of the chosen and of the
// rejected answers. MeansOf gives them names.
inline constexpr int64_t kPairSums = 6;

// What a batch of pairs is compared with.
struct PairReference {
  PreferenceOptions options;
  // fp64, on the device: log-probabilities of the answers under the reference.
  at::Tensor log_probabilities_P2;
};

// fp64 [P, 2]: the sum of the log-probabilities of each answer's targets. No gradients, no dropout.
at::Tensor LogProbabilities(Decoder& decoder, const DeviceBatch& batch);

// The sums of the pairs, without gradients and dropout.
at::Tensor EvaluatePairs(Decoder& decoder, const DeviceBatch& batch,
                         const PairReference& reference);
// Adds gradient_scale × d(sum of the pairs' losses)/dθ to the gradients of the parameters, as
// Decoder::ForwardBackward, and returns the sums of the pairs. One forward pass; the head computes
// the logits of all its chunks but one twice.
at::Tensor TrainPairs(Decoder& decoder, const DeviceBatch& batch, const PairReference& reference,
                      double gradient_scale, std::optional<uint64_t> dropout_key = std::nullopt);

struct PairMeans {
  double loss = 0;
  v1::PreferenceMetrics metrics;
};
// `sums`: on the CPU, over `pairs` pairs.
PairMeans MeansOf(const at::Tensor& sums, int64_t pairs);

}  // namespace trainerd::engine
