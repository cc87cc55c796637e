// SPDX-License-Identifier: Apache-2.0
#include "engine/model/decoder.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <utility>

#include "engine/model/kv_cache.h"
#include "engine/model/rope_frequencies.h"
#include "engine/ops/cross_entropy.h"
#include "engine/ops/embedding.h"
#include "engine/ops/gemm.h"
#include "engine/ops/linear.h"
#include "engine/ops/rms_norm.h"
#include "engine/ops/swiglu.h"

namespace trainerd::engine {
namespace {

using Role = WeightRole;

// The lists on the device, behind each other in one tensor. For CUDA from pinned memory, without
// waiting: the device is still busy with the microbatch before.
at::Tensor JoinedOnDevice(std::initializer_list<const std::vector<int32_t>*> lists,
                          at::Device device) {
  int64_t count = 0;
  for (const std::vector<int32_t>* list : lists) count += static_cast<int64_t>(list->size());
  const at::Tensor host =
      at::empty({count}, at::TensorOptions().dtype(at::kInt).pinned_memory(device.is_cuda()));
  int32_t* end = host.mutable_data_ptr<int32_t>();
  for (const std::vector<int32_t>* list : lists) end = std::copy(list->begin(), list->end(), end);
  return host.to(at::TensorOptions().device(device), /*non_blocking=*/true);
}

}  // namespace

DeviceBatch ToDevice(const Microbatch& batch, at::Device device) {
  DeviceBatch result;
  std::vector<int32_t> rows;
  rows.reserve(static_cast<size_t>(batch.target_tokens));
  for (size_t t = 0; t < batch.targets.size(); ++t) {
    if (batch.targets[t] != kIgnoreIndex) rows.push_back(static_cast<int32_t>(t));
  }
  const at::Tensor joined = JoinedOnDevice(
      {&batch.ids, &batch.positions, &batch.targets, &rows, &batch.cu_seqlens}, device);
  int64_t begin = 0;
  const auto next = [&](const std::vector<int32_t>& list) {
    const int64_t count = static_cast<int64_t>(list.size());
    return joined.narrow(0, std::exchange(begin, begin + count), count);
  };
  result.ids = next(batch.ids).to(at::kLong);
  result.positions = next(batch.positions).to(at::kLong);
  result.targets = next(batch.targets).to(at::kLong);
  result.target_rows = next(rows).to(at::kLong);
  result.documents.cu_seqlens = next(batch.cu_seqlens);
  result.documents.cu_seqlens_host = batch.cu_seqlens;
  for (size_t i = 0; i + 1 < batch.cu_seqlens.size(); ++i) {
    result.documents.max_seqlen = std::max<int64_t>(result.documents.max_seqlen,
                                                    batch.cu_seqlens[i + 1] - batch.cu_seqlens[i]);
  }
  return result;
}

Decoder::Decoder(const ModelConfig& config, ParameterSet& parameters)
    : config_(config),
      parameters_(parameters),
      inverse_frequencies_(InverseFrequencies(config, parameters.device())) {
  for (int64_t layer = 0; layer < config.num_layers; ++layer) {
    Block block;
    block.input_norm = parameters.Weight(Role::kInputNorm, layer);
    block.qkv = parameters.Linear({Role::kQuery, Role::kValue},
                                  {Role::kQueryBias, Role::kValueBias}, layer);
    block.attention.shape = {.num_heads = config.num_heads,
                             .num_kv_heads = config.num_kv_heads,
                             .head_dim = config.head_dim,
                             .scale = 1.0 / std::sqrt(static_cast<double>(config.head_dim)),
                             .window = config.WindowOf(layer)};
    block.attention.q_norm = parameters.Weight(Role::kQueryNorm, layer);
    block.attention.k_norm = parameters.Weight(Role::kKeyNorm, layer);
    block.attention.norm_eps = config.rms_norm_eps;
    block.output = parameters.Linear({Role::kOutput, Role::kOutput},
                                     {Role::kOutputBias, Role::kOutputBias}, layer);
    block.post_attention_norm = parameters.Weight(Role::kPostAttentionNorm, layer);
    block.gate_up =
        parameters.Linear({Role::kGate, Role::kUp}, {Role::kGateBias, Role::kUpBias}, layer);
    block.down =
        parameters.Linear({Role::kDown, Role::kDown}, {Role::kDownBias, Role::kDownBias}, layer);
    blocks_.push_back(std::move(block));
  }
  embedding_ = parameters.Weight(Role::kEmbedding);
  final_norm_ = parameters.Weight(Role::kFinalNorm);
  head_ = config.tie_word_embeddings ? embedding_ : parameters.Weight(Role::kHead);
}

at::Tensor Decoder::Mlp(const Block& block, const AddNormed& stream) const {
  const Activated activated =
      SwiGlu(Linear(stream.normed_TD, block.gate_up, stream.recompute_normed));
  return Linear(activated.out, block.down, activated.recompute);
}

at::Tensor Decoder::Hidden(const DeviceBatch& batch, const at::Tensor& rows) {
  const RotaryTables rope =
      MakeRotaryTables(inverse_frequencies_, batch.positions, parameters_.compute_dtype());
  const double eps = config_.rms_norm_eps;
  // `stream.normed` always carries the norm that the next matrix wants: each residual addition is
  // fused with the norm behind it.
  AddNormed stream =
      AddRmsNorm(Embedding(batch.ids, embedding_), at::Tensor(), blocks_[0].input_norm, eps);
  for (size_t layer = 0; layer < blocks_.size(); ++layer) {
    const Block& block = blocks_[layer];
    const bool last = layer + 1 == blocks_.size();
    at::Tensor attended =
        RotaryAttention(Linear(stream.normed_TD, block.qkv, stream.recompute_normed), rope,
                        batch.documents, block.attention);
    if (last && rows.defined()) {
      // Nothing mixes positions any more: only rows that carry loss go on.
      attended = SelectRows(attended, rows);
      stream.sum_TD = SelectRows(stream.sum_TD, rows);
    }
    stream =
        AddRmsNorm(stream.sum_TD, Linear(attended, block.output), block.post_attention_norm, eps);
    const at::Tensor mlp = Mlp(block, stream);
    stream =
        AddRmsNorm(stream.sum_TD, mlp, last ? final_norm_ : blocks_[layer + 1].input_norm, eps);
  }
  return stream.normed_TD;
}

at::Tensor Decoder::ForwardBackward(const DeviceBatch& batch, double gradient_scale) {
  if (batch.target_rows.numel() == 0)
    return at::zeros({}, at::TensorOptions().device(parameters_.device()).dtype(at::kFloat));
  const at::AutoGradMode recording(true);
  const at::Tensor hidden = Hidden(batch, batch.target_rows);
  const LinearCrossEntropyResult head =
      LinearCrossEntropy(hidden, batch.targets.index_select(0, batch.target_rows), head_,
                         {.gradient_scale = gradient_scale, .with_gradient = true});
  // Undefined if nothing below the head trains.
  if (head.d_hidden_RD.defined()) hidden.backward(head.d_hidden_RD);
  return head.loss_sum;
}

at::Tensor Decoder::LossSum(const DeviceBatch& batch) {
  const at::NoGradGuard no_grad;
  if (batch.target_rows.numel() == 0)
    return at::zeros({}, at::TensorOptions().device(parameters_.device()).dtype(at::kFloat));
  return LinearCrossEntropy(Hidden(batch, batch.target_rows),
                            batch.targets.index_select(0, batch.target_rows), head_,
                            {.with_gradient = false})
      .loss_sum;
}

at::Tensor Decoder::Logits(const DeviceBatch& batch) {
  const at::NoGradGuard no_grad;
  return MatMul(Hidden(batch, at::Tensor()), head_.weight.t()).to(at::kFloat);
}

at::Tensor Decoder::NextLogits(const at::Tensor& ids, KvCache& cache) {
  const at::NoGradGuard no_grad;
  const int64_t tokens = ids.size(0);
  const double eps = config_.rms_norm_eps;
  const at::Tensor positions = at::arange(cache.length(), cache.length() + tokens, ids.options());
  const RotaryTables rope =
      MakeRotaryTables(inverse_frequencies_, positions, parameters_.compute_dtype());
  AddNormed stream =
      AddRmsNorm(Embedding(ids, embedding_), at::Tensor(), blocks_[0].input_norm, eps);
  for (size_t layer = 0; layer < blocks_.size(); ++layer) {
    const Block& block = blocks_[layer];
    const QueryKeyValue heads =
        RotateHeads(Linear(stream.normed_TD, block.qkv), rope, block.attention);
    const AttentionShape& shape = block.attention.shape;
    const at::Tensor attended = cache.Attend(static_cast<int64_t>(layer), heads.q_TNH, heads.k_TKH,
                                             heads.v_TKH, shape.scale, shape.window);
    stream =
        AddRmsNorm(stream.sum_TD, Linear(attended, block.output), block.post_attention_norm, eps);
    const at::Tensor mlp = Mlp(block, stream);
    stream =
        AddRmsNorm(stream.sum_TD, mlp,
                   layer + 1 == blocks_.size() ? final_norm_ : blocks_[layer + 1].input_norm, eps);
  }
  cache.Advance(tokens);
  return MatMul(stream.normed_TD.narrow(0, tokens - 1, 1), head_.weight.t())
      .squeeze(0)
      .to(at::kFloat);
}

}  // namespace trainerd::engine
