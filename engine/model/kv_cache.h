// SPDX-License-Identifier: Apache-2.0
// Rotated keys and values of the tokens seen so far, per layer, for generation.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "engine/model/model_config.h"

namespace trainerd::engine {

// Not thread-safe.
class KvCache {
 public:
  KvCache(const ModelConfig& config, int64_t capacity, at::TensorOptions options);

  int64_t length() const { return length_; }
  int64_t capacity() const { return capacity_; }

  // Stores k and v [t, K, H] of the tokens behind the current length and returns attention's output
  // [t, N·H] for their queries q [t, N, H] over everything stored. `window` as in AttentionShape.
  // Advance is called once all layers are done.
  at::Tensor Attend(int64_t layer, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                    double scale, int64_t window);
  void Advance(int64_t tokens) { length_ += tokens; }

 private:
  int64_t capacity_;
  int64_t length_ = 0;
  std::vector<at::Tensor> keys_, values_;  // [K, capacity, H]
};

}  // namespace trainerd::engine
