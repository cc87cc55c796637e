// SPDX-License-Identifier: Apache-2.0
// Rotated keys and values of the previous tokens, per layer, for generation.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "engine/model/config/model_config.h"
#include "engine/ops/layers/rotary_attention.h"

namespace trainerd::engine {

// Not thread-safe.
class KvCache {
 public:
  KvCache(const ModelConfig& config, int64_t capacity, at::TensorOptions options);

  int64_t length() const { return length_; }
  int64_t capacity() const { return capacity_; }

  // Appends the keys and values of t tokens to those of the layer and returns the attention's
  // output [t, N·H] for the queries of these tokens. Call Advance after the last layer.
  at::Tensor Attend(int64_t layer, const QueryKeyValue& heads, const AttentionShape& shape);
  void Advance(int64_t tokens) { length_ += tokens; }
  void Clear() { length_ = 0; }

 private:
  int64_t capacity_;
  int64_t length_ = 0;
  std::vector<at::Tensor> keys_, values_;  // [K, capacity, H]
};

}  // namespace trainerd::engine
