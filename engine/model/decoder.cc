// SPDX-License-Identifier: Apache-2.0
#include "engine/model/decoder.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/model/kv_cache.h"
#include "engine/ops/layers/embedding.h"
#include "engine/ops/layers/geglu.h"
#include "engine/ops/layers/linear.h"
#include "engine/ops/layers/residual.h"
#include "engine/ops/layers/swiglu.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

using Role = WeightRole;

using Activate = Activated (*)(const at::Tensor& gate_up);

Activate ActivationOf(Activation activation) {
  switch (activation) {
    case Activation::kSilu:
      return SwiGlu;
    case Activation::kGeluTanh:
      return GeGlu;
  }
  return nullptr;
}

// Those of `rows`; all if undefined.
DropoutRows Selected(const DropoutRows& dropout, const at::Tensor& rows) {
  if (!dropout.row_keys_T.defined() || !rows.defined()) return dropout;
  return {.key = dropout.key, .row_keys_T = dropout.row_keys_T.index_select(0, rows)};
}

}  // namespace

Decoder::Decoder(const ModelConfig& config, ParameterSet& parameters, const DecoderOptions& options)
    : config_(config), parameters_(parameters), options_(options) {
  for (int64_t index = 0; index < config.num_layers; ++index) layers_.push_back(MakeLayer(index));
  embedding_ = parameters.Weight(Role::kEmbedding);
  final_norm_ = parameters.Weight(Role::kFinalNorm);
  head_ = config.tie_word_embeddings ? embedding_ : parameters.Weight(Role::kHead);
  // A tied head is without the embedding's adapter and may have one of its own, as in PEFT.
  if (!options.with_adapter) return;
  embedding_adapter_ = parameters.LowRank({Role::kEmbedding, Role::kEmbedding});
  head_adapter_ = parameters.LowRank({Role::kHead, Role::kHead});
}

Decoder::Layer Decoder::MakeLayer(int64_t index) {
  const BlockSpec& block = config_.block;
  const LayerSpec& spec = block.layers[static_cast<size_t>(index)];
  const auto norm = [&](Role role) { return parameters_.Weight(role, index); };
  const auto linear = [&](Role first, Role last, Role first_bias, Role last_bias) {
    LinearWeights weights = parameters_.Linear({first, last}, {first_bias, last_bias}, index);
    if (!options_.with_adapter) weights.low_rank = {};
    return weights;
  };
  Layer layer;
  layer.attention_norm = norm(Role::kAttentionNorm);
  layer.qkv = config_.names.joint_qkv != nullptr
                  ? linear(Role::kQuery, Role::kQuery, Role::kQueryBias, Role::kQueryBias)
                  : linear(Role::kQuery, Role::kValue, Role::kQueryBias, Role::kValueBias);
  layer.attention.shape = {.num_heads = config_.num_heads,
                           .num_kv_heads = config_.num_kv_heads,
                           .head_dim = config_.head_dim,
                           .scale = block.attention_scale.value_or(
                               1.0 / std::sqrt(static_cast<double>(config_.head_dim))),
                           .window = spec.window,
                           .soft_cap = block.attention_soft_cap.value_or(0.0)};
  layer.attention.q_norm = norm(Role::kQueryNorm);
  layer.attention.k_norm = norm(Role::kKeyNorm);
  layer.attention.norm_eps = config_.rms_norm_eps;
  if (spec.rope) {
    const auto known = std::find(ropes_.begin(), ropes_.end(), *spec.rope);
    layer.rope = static_cast<size_t>(known - ropes_.begin());
    if (known == ropes_.end()) {
      ropes_.push_back(*spec.rope);
      frequencies_.push_back(
          MakeRopeFrequencies(*spec.rope, config_.head_dim, parameters_.device()));
    }
  }
  layer.output = linear(Role::kOutput, Role::kOutput, Role::kOutputBias, Role::kOutputBias);
  layer.attention_output_norm = norm(Role::kAttentionOutputNorm);
  layer.mlp_norm = norm(Role::kMlpNorm);
  layer.mlp_output_norm = norm(Role::kMlpOutputNorm);
  if (spec.has_experts) {
    layer.mixture = MakeMixture(index);
    return layer;
  }
  layer.gate_up = config_.names.joint_gate_up != nullptr
                      ? linear(Role::kGate, Role::kGate, Role::kGateBias, Role::kGateBias)
                      : linear(Role::kGate, Role::kUp, Role::kGateBias, Role::kUpBias);
  layer.down = linear(Role::kDown, Role::kDown, Role::kDownBias, Role::kDownBias);
  return layer;
}

Mixture Decoder::MakeMixture(int64_t index) const {
  const ExpertsSpec& spec = config_.block.experts;
  Mixture mixture{.router = parameters_.Weight(Role::kRouter, index),
                  .experts_per_token = spec.per_token,
                  .normalizes = spec.normalizes,
                  .activate = ActivationOf(config_.block.activation)};
  for (int64_t e = 0; e < spec.count; ++e) {
    mixture.experts.push_back(
        {.gate_up = parameters_.Expert({Role::kExpertGate, Role::kExpertUp}, index, e),
         .down = parameters_.Expert({Role::kExpertDown, Role::kExpertDown}, index, e)});
  }
  return mixture;
}

WeightAndGrad Decoder::WithOffset(const WeightAndGrad& norm) const {
  const double offset = config_.block.norm_offset;
  if (offset == 0.0 || !norm.weight.defined()) return norm;
  return {norm.weight + offset, norm.grad};
}

at::Tensor Decoder::Branch(const at::Tensor& branch_TD, const WeightAndGrad& norm) const {
  const at::Tensor branch =
      norm.weight.defined()
          ? AddRmsNorm(branch_TD, at::Tensor(), WithOffset(norm), config_.rms_norm_eps).normed_TD
          : branch_TD;
  return Scale(branch, config_.block.residual_scale);
}

double Decoder::EmbeddingScale() const {
  const double scale = config_.block.embedding_scale;
  if (!config_.block.rounds_embedding_scale) return scale;
  return at::scalar_tensor(scale, parameters_.compute_dtype()).item<double>();
}

AddNormed Decoder::AddBranch(const at::Tensor& x_TD, const at::Tensor& branch_TD,
                             const WeightAndGrad& next_norm) const {
  return next_norm.weight.defined()
             ? AddRmsNorm(x_TD, branch_TD, WithOffset(next_norm), config_.rms_norm_eps)
             : AddResidual(x_TD, branch_TD);
}

ActivationCheckpointing Decoder::Recomputed() const {
  return IsRecording() ? options_.activation_checkpointing : ActivationCheckpointing::kNone;
}

AddNormed Decoder::AddAttention(const LayerCall& call, const AddNormed& stream) const {
  const Layer& layer = layers_[call.index];
  RotaryAttentionOptions options = layer.attention;
  options.q_norm = WithOffset(options.q_norm);
  options.k_norm = WithOffset(options.k_norm);
  options.recompute_norm = Recomputed() == ActivationCheckpointing::kSelective;
  at::Tensor attended = call.attend(
      call.index, Linear(stream.normed_TD, layer.qkv, stream.recompute_normed, call.dropout),
      call.rope, options);
  at::Tensor sum = stream.sum_TD;
  if (call.rows.defined()) {
    // Nothing mixes positions any more: drop the positions that carry no loss.
    attended = SelectRows(attended, call.rows);
    sum = SelectRows(sum, call.rows);
  }
  const at::Tensor output =
      Linear(attended, layer.output, /*recompute=*/nullptr, call.dropout_of_rows);
  return AddBranch(sum, Branch(output, layer.attention_output_norm), layer.mlp_norm);
}

Recomputable Decoder::GatedActivation(const LayerCall& call, const Recomputable& normed_TD) const {
  const at::Tensor gate_up = Linear(normed_TD.tensor, layers_[call.index].gate_up,
                                    normed_TD.recompute, call.dropout_of_rows);
  const Activated activated = ActivationOf(config_.block.activation)(gate_up);
  return {activated.out, activated.recompute};
}

at::Tensor Decoder::Down(const LayerCall& call, const Recomputable& activated_TF) const {
  const Layer& layer = layers_[call.index];
  return Branch(
      Linear(activated_TF.tensor, layer.down, activated_TF.recompute, call.dropout_of_rows),
      layer.mlp_output_norm);
}

at::Tensor Decoder::ExpertsBranch(const LayerCall& call, const Recomputable& normed_TD) const {
  const Layer& layer = layers_[call.index];
  return Branch(
      MixtureOfExperts(normed_TD, layer.mixture, call.load, static_cast<int64_t>(call.index)),
      layer.mlp_output_norm);
}

Decoder::LayerResult Decoder::RunLayer(const LayerCall& call, const AddNormed& stream) const {
  const ActivationCheckpointing recomputed = Recomputed();
  if (recomputed == ActivationCheckpointing::kFull) return RunCheckpointedLayer(call, stream);
  const AddNormed attended = AddAttention(call, stream);
  const Recomputable normed{attended.normed_TD, attended.recompute_normed};
  if (layers_[call.index].has_experts()) {
    const at::Tensor branch =
        recomputed == ActivationCheckpointing::kNone
            ? ExpertsBranch(call, normed)
            : Checkpoint(
                  "Experts", {normed},
                  [this, call](const std::vector<at::Tensor>& inputs) {
                    return std::vector<at::Tensor>{ExpertsBranch(call, {inputs[0], nullptr})};
                  })[0]
                  .tensor;
    return {attended.sum_TD, branch};
  }
  const Recomputable activated =
      recomputed == ActivationCheckpointing::kNone
          ? GatedActivation(call, normed)
          : Checkpoint("GatedActivation", {normed},
                       [this, call](const std::vector<at::Tensor>& inputs) {
                         return std::vector<at::Tensor>{
                             GatedActivation(call, {inputs[0], nullptr}).tensor};
                       })[0];
  return {attended.sum_TD, Down(call, activated)};
}

// The region ends before the down projection, whose output the backward does not need, unless a
// norm follows it or it is that of experts.
Decoder::LayerResult Decoder::RunCheckpointedLayer(const LayerCall& call,
                                                   const AddNormed& stream) const {
  const bool has_experts = layers_[call.index].has_experts(),
             with_down = has_experts || layers_[call.index].mlp_output_norm.weight.defined();
  const auto region = [this, call, has_experts, with_down](const std::vector<at::Tensor>& inputs) {
    const AddNormed attended = AddAttention(call, {inputs[0], inputs[1], nullptr});
    const Recomputable normed{attended.normed_TD, attended.recompute_normed};
    if (has_experts) return std::vector<at::Tensor>{attended.sum_TD, ExpertsBranch(call, normed)};
    const Recomputable activated = GatedActivation(call, normed);
    return std::vector<at::Tensor>{attended.sum_TD,
                                   with_down ? Down(call, activated) : activated.tensor};
  };
  const std::vector<Recomputable> outputs = Checkpoint(
      "Layer", {{stream.sum_TD, nullptr}, {stream.normed_TD, stream.recompute_normed}}, region);
  return {outputs[0].tensor, with_down ? outputs[1].tensor : Down(call, outputs[1])};
}

at::Tensor Decoder::Hidden(const Tokens& tokens, const at::Tensor& rows, const Attend& attend,
                           const DropoutRows& dropout,
                           const std::shared_ptr<RouterLoad>& load) const {
  std::vector<RotaryTables> ropes;
  for (size_t i = 0; i < ropes_.size(); ++i) {
    ropes.push_back(MakeRotaryTables(ropes_[i], frequencies_[i], tokens.positions, tokens.lengths,
                                     parameters_.compute_dtype()));
  }
  // `stream.normed_TD` is the input of the next matrix: each residual addition is fused with the
  // norm behind it.
  AddNormed stream =
      AddBranch(Scale(Embedding(tokens.ids, embedding_, embedding_adapter_), EmbeddingScale()),
                at::Tensor(), layers_[0].attention_norm);
  for (size_t index = 0; index < layers_.size(); ++index) {
    const Layer& layer = layers_[index];
    const bool last = index + 1 == layers_.size();
    // The load-balancing loss is about all tokens.
    const bool drops = last && load == nullptr;
    LayerResult result = RunLayer({.index = index,
                                   .rope = layer.rope ? ropes[*layer.rope] : RotaryTables{},
                                   .rows = drops ? rows : at::Tensor(),
                                   .dropout = dropout,
                                   .dropout_of_rows = drops ? Selected(dropout, rows) : dropout,
                                   .attend = attend,
                                   .load = load},
                                  stream);
    if (last && !drops && rows.defined())
      result = {SelectRows(result.sum_TD, rows), SelectRows(result.branch_TD, rows)};
    stream = AddBranch(result.sum_TD, result.branch_TD,
                       last ? final_norm_ : layers_[index + 1].attention_norm);
  }
  return stream.normed_TD;
}

at::Tensor Decoder::LengthsOf(const DeviceBatch& batch) const {
  const bool matter = std::any_of(frequencies_.begin(), frequencies_.end(),
                                  [](const RopeFrequencies& f) { return f.in_long.defined(); });
  if (!matter) return {};
  const std::vector<int32_t>& ends = batch.documents.cu_seqlens_host;
  std::vector<int32_t> lengths;
  for (size_t i = 0; i + 1 < ends.size(); ++i) lengths.push_back(ends[i + 1] - ends[i]);
  return PerToken(batch, lengths);
}

bool Decoder::OutgrowsRope(int64_t length, int64_t total) const {
  return std::any_of(ropes_.begin(), ropes_.end(), [&](const RopeSpec& rope) {
    return !rope.long_divisors.empty() && length > 0 && length <= rope.original_positions &&
           total > rope.original_positions;
  });
}

at::Tensor Decoder::BatchHidden(const DeviceBatch& batch, const at::Tensor& rows,
                                const DropoutRows& dropout,
                                const std::shared_ptr<RouterLoad>& load) const {
  return Hidden(
      {batch.ids, batch.positions, LengthsOf(batch)}, rows,
      [documents = batch.documents](size_t, const at::Tensor& qkv, const RotaryTables& rope,
                                    const RotaryAttentionOptions& options) {
        return RotaryAttention(qkv, rope, documents, options);
      },
      dropout, load);
}

std::shared_ptr<RouterLoad> Decoder::MakeLoad(const DeviceBatch& batch) const {
  const auto num_layers = std::count_if(layers_.begin(), layers_.end(),
                                        [](const Layer& layer) { return layer.has_experts(); });
  if (config_.block.experts.balance_factor == 0.0 || num_layers == 0) return nullptr;
  const auto load = std::make_shared<RouterLoad>();
  const auto options = at::TensorOptions().device(parameters_.device()).dtype(at::kFloat);
  load->chosen_LE = at::zeros({config_.num_layers, config_.block.experts.count}, options);
  load->probabilities_LE = at::zeros_like(load->chosen_LE);
  load->rows = static_cast<double>(batch.ids.numel()) * static_cast<double>(num_layers);
  return load;
}

double Decoder::BalanceFactor(const DeviceBatch& batch) const {
  return config_.block.experts.balance_factor * static_cast<double>(batch.target_rows.numel());
}

DropoutRows Decoder::DropoutOf(const DeviceBatch& batch, std::optional<uint64_t> key) const {
  const AdapterSpec* adapter = parameters_.adapter();
  if (!key.has_value() || adapter == nullptr || adapter->dropout == 0.0) return {};
  TRAINERD_CHECK(!batch.examples.empty());
  // Both answers of a pair are the same example, and each draws its own numbers.
  const bool is_pairs = !batch.answers.targets.empty();
  std::vector<int32_t> examples;  // of each document
  for (size_t i = 0; i < batch.examples.size(); ++i) {
    const auto example = static_cast<int32_t>(batch.examples[i]);
    examples.push_back(is_pairs && i % 2 == 1 ? -1 - example : example);
  }
  const at::Tensor of_tokens = PerToken(batch, examples);
  // Two numbers of 31 bits and a sign.
  return {.key = *key, .row_keys_T = of_tokens * (int64_t{1} << 32) + batch.positions};
}

LogitsOptions Decoder::LogitsShape() const {
  return {.scale = config_.block.logits_scale,
          .soft_cap = config_.block.logits_soft_cap.value_or(0.0)};
}

at::Tensor Decoder::ForwardBackward(const DeviceBatch& batch, double gradient_scale,
                                    std::optional<uint64_t> dropout_key,
                                    const TargetWeights& weigh) {
  if (batch.target_rows.numel() == 0)
    return at::zeros({}, at::TensorOptions().device(parameters_.device()).dtype(at::kFloat));
  const at::AutoGradMode recording(true);
  const DropoutRows dropout = DropoutOf(batch, dropout_key);
  const std::shared_ptr<RouterLoad> load = weigh == nullptr ? MakeLoad(batch) : nullptr;
  if (load != nullptr) load->gradient_factor = BalanceFactor(batch) * gradient_scale;
  const at::Tensor hidden = BatchHidden(batch, batch.target_rows, dropout, load);
  const LinearCrossEntropyResult head =
      LinearCrossEntropy(hidden, batch.targets.index_select(0, batch.target_rows), head_,
                         {.logits = LogitsShape(),
                          .label_smoothing = options_.label_smoothing,
                          .weights_R = batch.target_weights,
                          .token_weighting = options_.token_weighting,
                          .weigh = weigh,
                          .gradient_scale = gradient_scale,
                          .with_gradient = true,
                          .low_rank = head_adapter_,
                          .dropout = Selected(dropout, batch.target_rows)});
  // Undefined if nothing below the head trains.
  if (head.d_hidden_RD.defined()) hidden.backward(head.d_hidden_RD);
  return load == nullptr ? head.loss_sum
                         : head.loss_sum + LoadBalancingLoss(*load) * BalanceFactor(batch);
}

at::Tensor Decoder::LossSum(const DeviceBatch& batch) {
  const at::NoGradGuard no_grad;
  if (batch.target_rows.numel() == 0)
    return at::zeros({}, at::TensorOptions().device(parameters_.device()).dtype(at::kFloat));
  const std::shared_ptr<RouterLoad> load = MakeLoad(batch);
  const at::Tensor losses =
      LinearCrossEntropy(BatchHidden(batch, batch.target_rows, /*dropout=*/{}, load),
                         batch.targets.index_select(0, batch.target_rows), head_,
                         {.logits = LogitsShape(),
                          .label_smoothing = options_.label_smoothing,
                          .weights_R = batch.target_weights,
                          .with_gradient = false,
                          .low_rank = head_adapter_})
          .loss_sum;
  return load == nullptr ? losses : losses + LoadBalancingLoss(*load) * BalanceFactor(batch);
}

at::Tensor Decoder::TargetLosses(const DeviceBatch& batch) {
  const at::NoGradGuard no_grad;
  if (batch.target_rows.numel() == 0)
    return at::zeros({0}, at::TensorOptions().device(parameters_.device()).dtype(at::kFloat));
  return engine::TargetLosses(BatchHidden(batch, batch.target_rows),
                              batch.targets.index_select(0, batch.target_rows), head_.weight,
                              {.logits = LogitsShape(), .low_rank = head_adapter_});
}

at::Tensor Decoder::Logits(const DeviceBatch& batch) {
  const at::NoGradGuard no_grad;
  return HeadLogits(BatchHidden(batch, at::Tensor()), head_.weight, LogitsShape(), head_adapter_)
      .to(at::kFloat);
}

at::Tensor Decoder::NextLogits(const at::Tensor& ids, KvCache& cache) {
  const at::NoGradGuard no_grad;
  const int64_t tokens = ids.size(0);
  const int64_t total = cache.length() + tokens;
  TRAINERD_CHECK(!OutgrowsRope(cache.length(), total));
  const at::Tensor positions = at::arange(cache.length(), total, ids.options());
  const at::Tensor lengths = at::full({tokens}, total, ids.options());
  const at::Tensor hidden =
      Hidden({ids, positions, lengths}, /*rows=*/at::Tensor(),
             [&](size_t index, const at::Tensor& qkv, const RotaryTables& rope,
                 const RotaryAttentionOptions& options) {
               return cache.Attend(static_cast<int64_t>(index), RotateHeads(qkv, rope, options),
                                   options.shape);
             });
  cache.Advance(tokens);
  return HeadLogits(hidden.narrow(0, tokens - 1, 1), head_.weight, LogitsShape(), head_adapter_)
      .squeeze(0)
      .to(at::kFloat);
}

}  // namespace trainerd::engine
