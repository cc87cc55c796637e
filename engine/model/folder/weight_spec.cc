// SPDX-License-Identifier: Apache-2.0
#include "engine/model/folder/weight_spec.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace trainerd::engine {
namespace {

// Appends the weights of one layer.
class LayerWeights {
 public:
  LayerWeights(const char* decoder, int64_t layer, std::vector<WeightSpec>& out)
      : decoder_(decoder), layer_(layer), out_(out) {}

  void Matrix(WeightRole role, const char* module, int64_t rows, int64_t columns) {
    Add(role, module, ".weight", {rows, columns});
  }
  void Norm(WeightRole role, const char* module, int64_t size) {
    Add(role, module, ".weight", {size});
  }
  void Bias(WeightRole role, const char* module, int64_t size) {
    Add(role, module, ".bias", {size});
  }
  void Expert(WeightRole role, const std::string& module, int64_t expert, int64_t rows,
              int64_t columns) {
    Add(role, module.c_str(), ".weight", {rows, columns});
    out_.back().expert = expert;
  }

 private:
  void Add(WeightRole role, const char* module, const char* suffix, std::vector<int64_t> shape) {
    out_.push_back({role, layer_, absl::StrCat(decoder_, ".layers.", layer_, ".", module, suffix),
                    std::move(shape)});
  }

  const char* decoder_;
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

void AddExperts(const ModelConfig& c, LayerWeights& layer) {
  const ExpertsSpec& spec = c.block.experts;
  layer.Matrix(WeightRole::kRouter, c.names.router, spec.count, c.hidden_size);
  const auto module = [&](int64_t expert, const char* name) {
    return absl::StrCat(c.names.experts, ".", expert, ".", name);
  };
  for (int64_t e = 0; e < spec.count; ++e) {
    layer.Expert(WeightRole::kExpertGate, module(e, "gate_proj"), e, spec.intermediate_size,
                 c.hidden_size);
    layer.Expert(WeightRole::kExpertUp, module(e, "up_proj"), e, spec.intermediate_size,
                 c.hidden_size);
  }
  for (int64_t e = 0; e < spec.count; ++e) {
    layer.Expert(WeightRole::kExpertDown, module(e, "down_proj"), e, c.hidden_size,
                 spec.intermediate_size);
  }
}

void AddMlp(const ModelConfig& c, bool has_experts, LayerWeights& layer) {
  const BlockSpec& block = c.block;
  const WeightNames& names = c.names;
  if (block.norm_placement != NormPlacement::kPost)
    layer.Norm(WeightRole::kMlpNorm, names.mlp_norm, c.hidden_size);
  if (has_experts) {
    AddExperts(c, layer);
  } else {
    AddGateUp(c, layer);
    layer.Matrix(WeightRole::kDown, names.down, c.hidden_size, c.intermediate_size);
    if (block.mlp_bias) layer.Bias(WeightRole::kDownBias, names.down, c.hidden_size);
  }
  if (block.norm_placement != NormPlacement::kPre)
    layer.Norm(WeightRole::kMlpOutputNorm, names.mlp_output_norm, c.hidden_size);
}

}  // namespace

std::string EmbeddingName(const WeightNames& names) {
  return absl::StrCat(names.decoder, ".embed_tokens.weight");
}

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
    case WeightRole::kExpertUp:
      return WeightRole::kExpertGate;
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
    case WeightRole::kRouter:
    case WeightRole::kExpertGate:
    case WeightRole::kExpertDown:
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
    case WeightRole::kRouter:
    case WeightRole::kExpertGate:
    case WeightRole::kExpertUp:
    case WeightRole::kExpertDown:
    case WeightRole::kAdapterA:
    case WeightRole::kAdapterB:
      break;
  }
  return ParameterGroup::kMatrix;
}

std::vector<WeightSpec> WeightsOf(const ModelConfig& config) {
  const std::vector<int64_t> vocabulary = {config.vocab_size, config.hidden_size};
  std::vector<WeightSpec> specs;
  specs.push_back({WeightRole::kEmbedding, -1, EmbeddingName(config.names), vocabulary});
  for (int64_t i = 0; i < config.num_layers; ++i) {
    LayerWeights layer(config.names.decoder, i, specs);
    AddAttention(config, layer);
    AddMlp(config, config.block.layers[static_cast<size_t>(i)].has_experts, layer);
  }
  specs.push_back({WeightRole::kFinalNorm,
                   -1,
                   absl::StrCat(config.names.decoder, ".norm.weight"),
                   {config.hidden_size}});
  if (!config.tie_word_embeddings) specs.push_back({WeightRole::kHead, -1, kHeadName, vocabulary});
  return specs;
}

}  // namespace trainerd::engine
