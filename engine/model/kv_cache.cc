// SPDX-License-Identifier: Apache-2.0
#include "engine/model/kv_cache.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tanh.h>

#include <limits>

namespace trainerd::engine {

KvCache::KvCache(const ModelConfig& config, int64_t capacity, at::TensorOptions options)
    : capacity_(capacity) {
  for (int64_t layer = 0; layer < config.num_layers; ++layer) {
    keys_.push_back(at::empty({config.num_kv_heads, capacity, config.head_dim}, options));
    values_.push_back(at::empty({config.num_kv_heads, capacity, config.head_dim}, options));
  }
}

at::Tensor KvCache::Attend(int64_t layer, const QueryKeyValue& heads, const AttentionShape& shape) {
  const at::Tensor &q = heads.q_TNH, &k = heads.k_TKH, &v = heads.v_TKH;
  const int64_t tokens = q.size(0), kv_heads = k.size(1), total = length_ + tokens;
  keys_[layer].narrow(1, length_, tokens).copy_(k.transpose(0, 1));
  values_[layer].narrow(1, length_, tokens).copy_(v.transpose(0, 1));
  // Query heads of one group share their keys: [K, G, t, H] against [K, 1, total, H].
  const at::Tensor queries = q.unflatten(1, {kv_heads, -1}).permute({1, 2, 0, 3}).to(at::kFloat);
  const at::Tensor keys = keys_[layer].narrow(1, 0, total).unsqueeze(1).to(at::kFloat);
  const at::Tensor values = values_[layer].narrow(1, 0, total).unsqueeze(1).to(at::kFloat);
  at::Tensor scores = at::matmul(queries, keys.transpose(-1, -2)) * shape.scale;
  if (shape.soft_cap > 0.0) scores = at::tanh(scores / shape.soft_cap) * shape.soft_cap;
  const auto index = at::TensorOptions().device(q.device()).dtype(at::kLong);
  const at::Tensor distance =
      at::arange(length_, total, index).unsqueeze(1) - at::arange(total, index).unsqueeze(0);
  at::Tensor mask = distance < 0;
  if (shape.window > 0) mask = mask.logical_or(distance >= shape.window);
  scores.masked_fill_(mask, -std::numeric_limits<float>::infinity());
  const at::Tensor out = at::matmul(at::softmax(scores, -1), values);
  return out.permute({2, 0, 1, 3}).flatten(1).to(q.scalar_type());
}

}  // namespace trainerd::engine
