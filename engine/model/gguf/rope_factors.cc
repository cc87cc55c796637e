// SPDX-License-Identifier: Apache-2.0
#include "engine/model/gguf/rope_factors.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace trainerd::engine {

std::vector<float> FactorsOfScaling(const RopeSize& rope, const Llama3RopeScaling& scaling) {
  const double context = static_cast<double>(scaling.original_max_position_embeddings);
  std::vector<float> factors;
  for (int64_t i = 0; i < rope.head_dim; i += 2) {
    const double exponent = static_cast<double>(i) / static_cast<double>(rope.head_dim);
    const double wavelength = 2.0 * M_PI * std::pow(rope.theta, exponent);
    double factor = 1.0;
    if (wavelength > context / scaling.low_freq_factor) {
      factor = scaling.factor;
    } else if (wavelength >= context / scaling.high_freq_factor) {
      const double smooth = (context / wavelength - scaling.low_freq_factor) /
                            (scaling.high_freq_factor - scaling.low_freq_factor);
      factor = 1.0 / ((1.0 - smooth) / scaling.factor + smooth);
    }
    factors.push_back(static_cast<float>(factor));
  }
  return factors;
}

std::optional<Llama3RopeScaling> ScalingOfFactors(const RopeSize& rope,
                                                  absl::Span<const float> factors) {
  // Of the files' fp32 arithmetic.
  constexpr float kTolerance = 1e-4F;
  if (factors.empty()) return std::nullopt;
  Llama3RopeScaling scaling;
  scaling.factor = *std::max_element(factors.begin(), factors.end());
  const std::vector<float> expected = FactorsOfScaling(rope, scaling);
  for (size_t i = 0; i < factors.size(); ++i) {
    if (!(std::fabs(factors[i] - expected[i]) <= kTolerance * expected[i])) return std::nullopt;
  }
  return scaling;
}

}  // namespace trainerd::engine
