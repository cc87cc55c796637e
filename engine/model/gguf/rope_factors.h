// SPDX-License-Identifier: Apache-2.0
// RoPE scaling as GGUF files hold it: tensors with a divisor of each frequency. No LibTorch.
// Source: Llama 3.1 (Meta, 2024), as in transformers' modeling_rope_utils.py.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/types/span.h"
#include "engine/model/config/block_spec.h"

namespace trainerd::engine {

// Of Llama 3.1.
inline constexpr char kRopeFactorsName[] = "rope_freqs.weight";
// Of rope_type "longrope".
inline constexpr char kRopeLongFactorsName[] = "rope_factors_long.weight";
inline constexpr char kRopeShortFactorsName[] = "rope_factors_short.weight";

struct RopeSize {
  double theta = 10000.0;
  int64_t head_dim = 0;
};

// One factor per pair of elements of a head.
std::vector<float> FactorsOfScaling(const RopeSize& rope, const Llama3RopeScaling& scaling);
// The scaling of Llama 3.1 and 3.2, with any factor, that has these factors; nullopt if none has.
std::optional<Llama3RopeScaling> ScalingOfFactors(const RopeSize& rope,
                                                  absl::Span<const float> factors);

}  // namespace trainerd::engine
