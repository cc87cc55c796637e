// SPDX-License-Identifier: Apache-2.0
#include "engine/model/rope_frequencies.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/reciprocal.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>

#include <cmath>
#include <vector>

#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

// Stretches long wavelengths by `factor`, keeps short ones, and interpolates between them. Source:
// Llama 3.1 (Meta, 2024), as in transformers' modeling_rope_utils.py, _compute_llama3_parameters.
at::Tensor ScaleLlama3(const at::Tensor& frequencies, const Llama3RopeScaling& s) {
  const double context = static_cast<double>(s.original_max_position_embeddings);
  const double low_wavelength = context / s.low_freq_factor,
               high_wavelength = context / s.high_freq_factor;
  const at::Tensor wavelength = at::reciprocal(frequencies) * (2.0 * M_PI);
  const at::Tensor stretched = frequencies / s.factor;
  const at::Tensor smooth = (at::reciprocal(wavelength) * context - s.low_freq_factor) /
                            (s.high_freq_factor - s.low_freq_factor);
  const at::Tensor between = (1.0 - smooth) * stretched + smooth * frequencies;
  return at::where(wavelength > low_wavelength, stretched,
                   at::where(wavelength < high_wavelength, frequencies, between));
}

at::Tensor InverseFrequencies(const RopeSpec& rope, const std::vector<double>& divisors,
                              int64_t head_dim, at::Device device) {
  const int64_t dim = rope.rotary_dim > 0 ? rope.rotary_dim : head_dim;
  const at::Tensor exponents =
      at::arange(0, dim, 2, at::TensorOptions().dtype(at::kLong)).to(at::kFloat) / dim;
  at::Tensor wavelengths = at::pow(rope.theta, exponents);
  if (!divisors.empty())
    wavelengths = wavelengths * at::tensor(divisors, at::kDouble).to(at::kFloat);
  at::Tensor frequencies = at::reciprocal(wavelengths);
  if (rope.factor != 1.0) frequencies = frequencies / rope.factor;
  if (rope.llama3) frequencies = ScaleLlama3(frequencies, *rope.llama3);
  return frequencies.to(device);
}

}  // namespace

RopeFrequencies MakeRopeFrequencies(const RopeSpec& rope, int64_t head_dim, at::Device device) {
  RopeFrequencies frequencies;
  frequencies.in_short = InverseFrequencies(rope, rope.divisors, head_dim, device);
  if (!rope.long_divisors.empty())
    frequencies.in_long = InverseFrequencies(rope, rope.long_divisors, head_dim, device);
  return frequencies;
}

RotaryTables MakeRotaryTables(const RopeSpec& rope, const RopeFrequencies& frequencies,
                              const at::Tensor& positions_T, const at::Tensor& lengths_T,
                              at::ScalarType compute_dtype) {
  at::Tensor of_tokens = frequencies.in_short.unsqueeze(0);
  if (frequencies.in_long.defined()) {
    TRAINERD_CHECK(lengths_T.defined());
    const at::Tensor is_long_T = lengths_T > rope.original_positions;
    of_tokens = at::where(is_long_T.unsqueeze(1), frequencies.in_long, of_tokens);
  }
  const at::Tensor angles = positions_T.to(at::kFloat).unsqueeze(1) * of_tokens;
  const auto rounded = [&](const at::Tensor& x) {
    return (x * rope.magnitude).to(compute_dtype).to(at::kFloat);
  };
  return {rounded(angles.cos()), rounded(angles.sin())};
}

}  // namespace trainerd::engine
