// SPDX-License-Identifier: Apache-2.0
// The one model: a pre-norm decoder (RMSNorm, rotary attention with grouped keys, SwiGLU) that is
// Llama, Qwen2, Qwen3 or Mistral by ModelConfig, over the ops of engine/ops. It works on flat rows
// of tokens: documents are isolated by cu_seqlens, nothing is padded. Legend of shape suffixes: T
// tokens, D hidden size, N query heads, K key/value heads, H head size, F MLP size, V vocabulary.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "engine/data/batches/batch.h"
#include "engine/model/model_config.h"
#include "engine/model/parameters.h"
#include "engine/ops/op_table.h"
#include "engine/ops/rms_norm.h"
#include "engine/ops/rotary_attention.h"
#include "engine/ops/weights.h"

namespace trainerd::engine {

class KvCache;

// A Microbatch on its device.
struct DeviceBatch {
  at::Tensor ids;          // int64 [T]
  at::Tensor positions;    // int64 [T]
  at::Tensor targets;      // int64 [T], kIgnoreIndex where no loss is taken
  at::Tensor target_rows;  // int64 [targets that carry loss], their positions in the row
  Documents documents;
};

DeviceBatch ToDevice(const Microbatch& batch, at::Device device);

// Runs on one device and one rank. Not thread-safe; ATen's exceptions pass through (wrap calls in
// CatchTorch).
class Decoder {
 public:
  // Keeps a reference to `parameters`, which must outlive it.
  Decoder(const ModelConfig& config, ParameterSet& parameters);

  // Adds gradient_scale × d(sum of the targets' negative log-likelihoods)/dθ to each
  // Parameter::grad; returns that sum (fp32 scalar tensor on the device, not scaled, no host sync).
  // With gradient_scale = 1 / target tokens of the whole step, the accumulated gradients are those
  // of the step's mean loss.
  at::Tensor ForwardBackward(const DeviceBatch& batch, double gradient_scale);
  // The same sum without gradients.
  at::Tensor LossSum(const DeviceBatch& batch);
  // fp32 [T, V] logits of every position.
  at::Tensor Logits(const DeviceBatch& batch);
  // fp32 [V] logits after the last of `ids` ([t], the tokens at positions cache.length() …), which
  // are appended to the cache.
  at::Tensor NextLogits(const at::Tensor& ids, KvCache& cache);

  const ModelConfig& config() const { return config_; }
  ParameterSet& parameters() { return parameters_; }

 private:
  struct Block {
    WeightAndGrad input_norm;
    LinearWeights qkv;
    RotaryAttentionOptions attention;
    LinearWeights output;
    WeightAndGrad post_attention_norm;
    LinearWeights gate_up;
    LinearWeights down;
  };
  at::Tensor Mlp(const Block& block, const AddNormed& stream) const;
  // Final-normed hidden states of `rows` (all when undefined).
  at::Tensor Hidden(const DeviceBatch& batch, const at::Tensor& rows);

  ModelConfig config_;
  ParameterSet& parameters_;
  at::Tensor inverse_frequencies_;  // fp32 [H / 2], on the device
  std::vector<Block> blocks_;
  WeightAndGrad embedding_, final_norm_, head_;  // head_ is embedding_ when tied
};

}  // namespace trainerd::engine
