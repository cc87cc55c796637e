// SPDX-License-Identifier: Apache-2.0
// A part of the flat weights and gradients in fp32, as an optimizer updates it. With pure bf16, the
// weights have no fp32 master: the part is a copy, and the updated weights are rounded
// stochastically into bf16.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "engine/model/parameters.h"

namespace trainerd::engine {

// Elements that an optimizer copies at a time. Bounds the copies to 16 MiB each.
inline constexpr int64_t kWindowElements = int64_t{1} << 22;

class WeightWindow {
 public:
  // Elements [begin, begin + size) of the flat buffers.
  WeightWindow(ParameterSet& parameters, int64_t begin, int64_t size);

  // fp32, flat. The masters and main gradients themselves, unless the set is in pure bf16.
  const at::Tensor& master() const { return master_; }
  const at::Tensor& grad() const { return grad_; }
  // The bf16 copy of the masters, which the optimizer updates with them; else undefined.
  const at::Tensor& value() const { return value_; }

  // Call after `master` has changed. Pure bf16: rounds it into the weights, with the set's key.
  void Store() const;

 private:
  ParameterSet& parameters_;
  const int64_t begin_;
  at::Tensor master_, grad_, value_;
};

// Rounds fp32 `from` to one of the two bf16 neighbors, up with a probability of its distance from
// the lower one divided by theirs, so that the mean is exact. A number that bf16 represents stays.
// The random bits of element i are those of (key, first + i), in whatever parts it is called. Flat
// tensors on the CPU.
void RoundStochastically(const at::Tensor& from, const at::Tensor& to, uint64_t key, int64_t first);

}  // namespace trainerd::engine
