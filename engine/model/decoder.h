// SPDX-License-Identifier: Apache-2.0
// The decoder of every supported model: layers of attention and gated MLP around a residual stream,
// as BlockSpec describes them, over the ops of engine/ops. Training and generation share the layer
// loop. Input is a flat sequence of tokens: cu_seqlens isolates the documents, nothing is padded.
// Legend of shape suffixes: T tokens, D hidden size, N query heads, K key/value heads, H head size,
// F MLP size, V vocabulary.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "engine/model/config/model_config.h"
#include "engine/model/device_batch.h"
#include "engine/model/parameters.h"
#include "engine/model/rope_frequencies.h"
#include "engine/ops/autograd.h"
#include "engine/ops/cross_entropy.h"
#include "engine/ops/layers/experts.h"
#include "engine/ops/layers/rms_norm.h"
#include "engine/ops/layers/rotary_attention.h"
#include "engine/ops/op_table.h"
#include "engine/ops/weights.h"

namespace trainerd::engine {

class KvCache;

// What the backward pass recomputes instead of keeping it; the bits are the same. Normed tokens and
// outputs of activation functions are never kept.
enum class ActivationCheckpointing {
  kNone,
  // The joint projection of gate and up, and queries and keys behind their norm.
  kSelective,
  // All of a layer except its input, the residual stream.
  kFull,
};

struct DecoderOptions {
  ActivationCheckpointing activation_checkpointing = ActivationCheckpointing::kNone;
  // 0 to below 1: as label_smoothing of torch.nn.functional.cross_entropy.
  double label_smoothing = 0.0;
  std::optional<TokenWeighting> token_weighting;
  // false: the model without its adapter.
  bool with_adapter = true;
};

// Losses of the targets of a batch → their weights (LinearCrossEntropyOptions::weigh).
using TargetWeights = std::function<at::Tensor(const at::Tensor& losses_R)>;

// Runs on one device and one rank. Not thread-safe; ATen's exceptions pass through (wrap calls in
// CatchTorch).
class Decoder {
 public:
  // Keeps a reference to `parameters`, which must outlive it.
  Decoder(const ModelConfig& config, ParameterSet& parameters, const DecoderOptions& options = {});

  // Adds gradient_scale × d(sum of the targets' losses)/dθ to each Parameter::grad and returns that
  // sum (fp32 scalar tensor on the device, not scaled, no host sync unless the model has experts).
  // The load-balancing loss of a mixture of experts is added to the loss of each target; not with
  // `weigh`. The loss of a target is its
  // negative log-likelihood, smoothed and weighted by the options. With gradient_scale = 1 / target
  // tokens of the whole step, the accumulated gradients are those of the step's mean loss.
  // `dropout_key` selects the random numbers of the adapter's dropout: another one for each step.
  // nullopt: no dropout. `weigh`, if given, weights the losses instead of the options.
  at::Tensor ForwardBackward(const DeviceBatch& batch, double gradient_scale,
                             std::optional<uint64_t> dropout_key = std::nullopt,
                             const TargetWeights& weigh = nullptr);
  // The sum of the losses without token weighting, and no gradients.
  at::Tensor LossSum(const DeviceBatch& batch);
  // fp32 [target tokens]: the negative log-likelihood of each, without gradients.
  at::Tensor TargetLosses(const DeviceBatch& batch);
  // fp32 [T, V]: logits of every position. The tests compare them with transformers.
  at::Tensor Logits(const DeviceBatch& batch);
  // Appends `ids` [t], the tokens at positions cache.length() …, to the cache and returns the
  // logits after the last of them, fp32 [V]. Not if they outgrow the RoPE of the cache.
  at::Tensor NextLogits(const at::Tensor& ids, KvCache& cache);

  // Whether a cache of `length` tokens cannot grow to `total` ones, because longer texts have other
  // RoPE frequencies (RopeSpec::long_divisors): the tokens must enter an empty cache again.
  bool OutgrowsRope(int64_t length, int64_t total) const;

  const ModelConfig& config() const { return config_; }
  ParameterSet& parameters() { return parameters_; }

 private:
  // Norms that the model does not have are undefined.
  struct Layer {
    WeightAndGrad attention_norm;
    LinearWeights qkv;
    RotaryAttentionOptions attention;
    // Index in ropes_; nullopt: no RoPE.
    std::optional<size_t> rope;
    LinearWeights output;
    WeightAndGrad attention_output_norm;
    WeightAndGrad mlp_norm;
    LinearWeights gate_up;
    LinearWeights down;
    // Instead of gate_up and down; without experts: none.
    Mixture mixture;
    WeightAndGrad mlp_output_norm;

    bool has_experts() const { return !mixture.experts.empty(); }
  };
  // Joint projection qkv [T, (N + 2K)·H] of layer `index` → attention's output [T, N·H].
  using Attend =
      std::function<at::Tensor(size_t index, const at::Tensor& qkv, const RotaryTables& rope,
                               const RotaryAttentionOptions& options)>;
  // One layer of one forward pass. A checkpointed layer keeps a copy.
  struct LayerCall {
    size_t index = 0;
    RotaryTables rope;
    // Of the last layer: the positions that carry loss. Undefined: all.
    at::Tensor rows;
    // Of all positions, and of those that `rows` keeps.
    DropoutRows dropout, dropout_of_rows;
    Attend attend;
    // Null: no load-balancing loss.
    std::shared_ptr<RouterLoad> load;
  };
  // The residual stream behind the attention, and what the MLP adds to it.
  struct LayerResult {
    at::Tensor sum_TD;
    at::Tensor branch_TD;
  };

  // int64 [T] each.
  struct Tokens {
    at::Tensor ids, positions;
    // Tokens of the document of each; undefined if no RoPE depends on it.
    at::Tensor lengths;
  };

  Layer MakeLayer(int64_t index);
  Mixture MakeMixture(int64_t index) const;
  // The layer loop: final-normed hidden states of `rows` (all if undefined).
  at::Tensor Hidden(const Tokens& tokens, const at::Tensor& rows, const Attend& attend,
                    const DropoutRows& dropout = {},
                    const std::shared_ptr<RouterLoad>& load = nullptr) const;
  // Hidden with attention inside each document of the batch.
  at::Tensor BatchHidden(const DeviceBatch& batch, const at::Tensor& rows,
                         const DropoutRows& dropout = {},
                         const std::shared_ptr<RouterLoad>& load = nullptr) const;
  // Tokens::lengths.
  at::Tensor LengthsOf(const DeviceBatch& batch) const;
  // For the batch; null if the model has no load-balancing loss.
  std::shared_ptr<RouterLoad> MakeLoad(const DeviceBatch& batch) const;
  // What the load-balancing loss of the batch adds to the sum of its targets' losses.
  double BalanceFactor(const DeviceBatch& batch) const;
  DropoutRows DropoutOf(const DeviceBatch& batch, std::optional<uint64_t> key) const;
  // The parts of a layer, in order.
  LayerResult RunLayer(const LayerCall& call, const AddNormed& stream) const;
  LayerResult RunCheckpointedLayer(const LayerCall& call, const AddNormed& stream) const;
  AddNormed AddAttention(const LayerCall& call, const AddNormed& stream) const;
  Recomputable GatedActivation(const LayerCall& call, const Recomputable& normed_TD) const;
  at::Tensor Down(const LayerCall& call, const Recomputable& activated_TF) const;
  // The MLP of a layer with experts, as a branch.
  at::Tensor ExpertsBranch(const LayerCall& call, const Recomputable& normed_TD) const;
  // The branch as it is added to the stream: normed and scaled where the model does.
  at::Tensor Branch(const at::Tensor& branch_TD, const WeightAndGrad& norm) const;
  // Adds a branch to the stream and norms the sum for the matrix that reads it next.
  AddNormed AddBranch(const at::Tensor& x_TD, const at::Tensor& branch_TD,
                      const WeightAndGrad& next_norm) const;
  // The weight that the norm multiplies by. Its gradient is that of the stored weight.
  WeightAndGrad WithOffset(const WeightAndGrad& norm) const;
  double EmbeddingScale() const;
  LogitsOptions LogitsShape() const;

  // What this call recomputes in its backward pass; without recording there is none.
  ActivationCheckpointing Recomputed() const;

  ModelConfig config_;
  ParameterSet& parameters_;
  const DecoderOptions options_;
  // One entry per distinct RopeSpec, on the device.
  std::vector<RopeSpec> ropes_;
  std::vector<RopeFrequencies> frequencies_;
  std::vector<Layer> layers_;
  // head_ is embedding_ if the model is tied.
  WeightAndGrad embedding_, final_norm_, head_;
  LowRankWeights embedding_adapter_, head_adapter_;
};

}  // namespace trainerd::engine
