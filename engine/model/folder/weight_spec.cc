// SPDX-License-Identifier: Apache-2.0
#include "engine/model/folder/weight_spec.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace trainerd::engine {
namespace {

// Appends the weights of one layer.
class LayerWeights {
 public:
  LayerWeights(int64_t layer, std::vector<WeightSpec>& out) : layer_(layer), out_(out) {}

  void Matrix(WeightRole role, const char* module, int64_t rows, int64_t columns) {
    Add(role, module, ".weight", {rows, columns});
  }
  void Norm(WeightRole role, const char* module, int64_t size) {
    Add(role, module, ".weight", {size});
  }
  void Bias(WeightRole role, const char* module, int64_t size) {
    Add(role, module, ".bias", {size});
  }

 private:
  void Add(WeightRole role, const char* module, const char* suffix, std::vector<int64_t> shape) {
    out_.push_back({role, layer_, absl::StrCat("model.layers.", layer_, ".", module, suffix),
                    std::move(shape)});
  }

  int64_t layer_;
  std::vector<WeightSpec>& out_;
};

void AddQkv(const ModelConfig& c, LayerWeights& layer) {
  const WeightNames& names = c.names;
  const bool bias = c.block.qkv_bias;
  if (names.joint_qkv != nullptr) {
    const int64_t size = c.q_size() + 2 * c.kv_size();
    layer.Matrix(WeightRole::kQuery, names.joint_qkv, size, c.hidden_size);
    if (bias) layer.Bias(WeightRole::kQueryBias, names.joint_qkv, size);
    return;
  }
  layer.Matrix(WeightRole::kQuery, names.query, c.q_size(), c.hidden_size);
  layer.Matrix(WeightRole::kKey, names.key, c.kv_size(), c.hidden_size);
  layer.Matrix(WeightRole::kValue, names.value, c.kv_size(), c.hidden_size);
  if (!bias) return;
  layer.Bias(WeightRole::kQueryBias, names.query, c.q_size());
  layer.Bias(WeightRole::kKeyBias, names.key, c.kv_size());
  layer.Bias(WeightRole::kValueBias, names.value, c.kv_size());
}

void AddAttention(const ModelConfig& c, LayerWeights& layer) {
  const BlockSpec& block = c.block;
  const WeightNames& names = c.names;
  if (block.norm_placement != NormPlacement::kPost)
    layer.Norm(WeightRole::kAttentionNorm, names.attention_norm, c.hidden_size);
  AddQkv(c, layer);
  if (block.qk_norm != QkNorm::kNone) {
    const bool per_head = block.qk_norm == QkNorm::kPerHead;
    layer.Norm(WeightRole::kQueryNorm, names.query_norm, per_head ? c.head_dim : c.q_size());
    layer.Norm(WeightRole::kKeyNorm, names.key_norm, per_head ? c.head_dim : c.kv_size());
  }
  layer.Matrix(WeightRole::kOutput, names.output, c.hidden_size, c.q_size());
  if (block.output_bias) layer.Bias(WeightRole::kOutputBias, names.output, c.hidden_size);
  if (block.norm_placement != NormPlacement::kPre)
    layer.Norm(WeightRole::kAttentionOutputNorm, names.attention_output_norm, c.hidden_size);
}

void AddGateUp(const ModelConfig& c, LayerWeights& layer) {
  const WeightNames& names = c.names;
  const bool bias = c.block.mlp_bias;
  if (names.joint_gate_up != nullptr) {
    const int64_t size = 2 * c.intermediate_size;
    layer.Matrix(WeightRole::kGate, names.joint_gate_up, size, c.hidden_size);
    if (bias) layer.Bias(WeightRole::kGateBias, names.joint_gate_up, size);
    return;
  }
  layer.Matrix(WeightRole::kGate, names.gate, c.intermediate_size, c.hidden_size);
  layer.Matrix(WeightRole::kUp, names.up, c.intermediate_size, c.hidden_size);
  if (!bias) return;
  layer.Bias(WeightRole::kGateBias, names.gate, c.intermediate_size);
  layer.Bias(WeightRole::kUpBias, names.up, c.intermediate_size);
}

void AddMlp(const ModelConfig& c, LayerWeights& layer) {
  const BlockSpec& block = c.block;
  const WeightNames& names = c.names;
  if (block.norm_placement != NormPlacement::kPost)
    layer.Norm(WeightRole::kMlpNorm, names.mlp_norm, c.hidden_size);
  AddGateUp(c, layer);
  layer.Matrix(WeightRole::kDown, names.down, c.hidden_size, c.intermediate_size);
  if (block.mlp_bias) layer.Bias(WeightRole::kDownBias, names.down, c.hidden_size);
  if (block.norm_placement != NormPlacement::kPre)
    layer.Norm(WeightRole::kMlpOutputNorm, names.mlp_output_norm, c.hidden_size);
}

}  // namespace

WeightRole FirstOfJoint(WeightRole role) {
  switch (role) {
    case WeightRole::kKey:
    case WeightRole::kValue:
      return WeightRole::kQuery;
    case WeightRole::kKeyBias:
    case WeightRole::kValueBias:
      return WeightRole::kQueryBias;
    case WeightRole::kUp:
      return WeightRole::kGate;
    case WeightRole::kUpBias:
      return WeightRole::kGateBias;
    case WeightRole::kEmbedding:
    case WeightRole::kAttentionNorm:
    case WeightRole::kQuery:
    case WeightRole::kQueryBias:
    case WeightRole::kQueryNorm:
    case WeightRole::kKeyNorm:
    case WeightRole::kOutput:
    case WeightRole::kOutputBias:
    case WeightRole::kAttentionOutputNorm:
    case WeightRole::kMlpNorm:
    case WeightRole::kGate:
    case WeightRole::kGateBias:
    case WeightRole::kDown:
    case WeightRole::kDownBias:
    case WeightRole::kMlpOutputNorm:
    case WeightRole::kFinalNorm:
    case WeightRole::kHead:
    case WeightRole::kAdapterA:
    case WeightRole::kAdapterB:
      break;
  }
  return role;
}

ParameterGroup GroupOf(WeightRole role) {
  switch (role) {
    case WeightRole::kEmbedding:
      return ParameterGroup::kEmbedding;
    case WeightRole::kHead:
      return ParameterGroup::kHead;
    case WeightRole::kAttentionNorm:
    case WeightRole::kQueryNorm:
    case WeightRole::kKeyNorm:
    case WeightRole::kAttentionOutputNorm:
    case WeightRole::kMlpNorm:
    case WeightRole::kMlpOutputNorm:
    case WeightRole::kFinalNorm:
      return ParameterGroup::kNorm;
    case WeightRole::kQueryBias:
    case WeightRole::kKeyBias:
    case WeightRole::kValueBias:
    case WeightRole::kOutputBias:
    case WeightRole::kGateBias:
    case WeightRole::kUpBias:
    case WeightRole::kDownBias:
      return ParameterGroup::kBias;
    case WeightRole::kQuery:
    case WeightRole::kKey:
    case WeightRole::kValue:
    case WeightRole::kOutput:
    case WeightRole::kGate:
    case WeightRole::kUp:
    case WeightRole::kDown:
    case WeightRole::kAdapterA:
    case WeightRole::kAdapterB:
      break;
  }
  return ParameterGroup::kMatrix;
}

std::vector<WeightSpec> WeightsOf(const ModelConfig& config) {
  const std::vector<int64_t> vocabulary = {config.vocab_size, config.hidden_size};
  std::vector<WeightSpec> specs;
  specs.push_back({WeightRole::kEmbedding, -1, kEmbeddingName, vocabulary});
  for (int64_t i = 0; i < config.num_layers; ++i) {
    LayerWeights layer(i, specs);
    AddAttention(config, layer);
    AddMlp(config, layer);
  }
  specs.push_back({WeightRole::kFinalNorm, -1, "model.norm.weight", {config.hidden_size}});
  if (!config.tie_word_embeddings) specs.push_back({WeightRole::kHead, -1, kHeadName, vocabulary});
  return specs;
}

}  // namespace trainerd::engine
