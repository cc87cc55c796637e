// SPDX-License-Identifier: Apache-2.0
#include "engine/model/families/families.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace trainerd::engine {
namespace {

// Sorted by model_type.
constexpr Family kFamilies[] = {
    {.model_type = "llama",
     .architecture = "LlamaForCausalLM",
     .qkv_bias_by_default = false,
     .attention_bias_is_a_key = true,
     .qk_norm = false,
     .sliding_needs_switch = true,
     .default_head_dim = 0},
    {.model_type = "mistral",
     .architecture = "MistralForCausalLM",
     .qkv_bias_by_default = false,
     .attention_bias_is_a_key = false,
     .qk_norm = false,
     .sliding_needs_switch = false,
     .default_head_dim = 0},
    {.model_type = "qwen2",
     .architecture = "Qwen2ForCausalLM",
     .qkv_bias_by_default = true,
     .attention_bias_is_a_key = false,
     .qk_norm = false,
     .sliding_needs_switch = true,
     .default_head_dim = 0},
    {.model_type = "qwen3",
     .architecture = "Qwen3ForCausalLM",
     .qkv_bias_by_default = false,
     .attention_bias_is_a_key = true,
     .qk_norm = true,
     .sliding_needs_switch = true,
     .default_head_dim = 128},
};

void AddBlock(const ModelConfig& c, int64_t layer, std::vector<WeightSpec>& out) {
  const std::string prefix = absl::StrCat("model.layers.", layer, ".");
  const auto add = [&](WeightRole role, absl::string_view name, std::vector<int64_t> shape) {
    out.push_back({role, layer, absl::StrCat(prefix, name), std::move(shape)});
  };
  add(WeightRole::kInputNorm, "input_layernorm.weight", {c.hidden_size});
  add(WeightRole::kQuery, "self_attn.q_proj.weight", {c.q_size(), c.hidden_size});
  add(WeightRole::kKey, "self_attn.k_proj.weight", {c.kv_size(), c.hidden_size});
  add(WeightRole::kValue, "self_attn.v_proj.weight", {c.kv_size(), c.hidden_size});
  if (c.qkv_bias) {
    add(WeightRole::kQueryBias, "self_attn.q_proj.bias", {c.q_size()});
    add(WeightRole::kKeyBias, "self_attn.k_proj.bias", {c.kv_size()});
    add(WeightRole::kValueBias, "self_attn.v_proj.bias", {c.kv_size()});
  }
  if (c.qk_norm) {
    add(WeightRole::kQueryNorm, "self_attn.q_norm.weight", {c.head_dim});
    add(WeightRole::kKeyNorm, "self_attn.k_norm.weight", {c.head_dim});
  }
  add(WeightRole::kOutput, "self_attn.o_proj.weight", {c.hidden_size, c.q_size()});
  if (c.output_bias) add(WeightRole::kOutputBias, "self_attn.o_proj.bias", {c.hidden_size});
  add(WeightRole::kPostAttentionNorm, "post_attention_layernorm.weight", {c.hidden_size});
  add(WeightRole::kGate, "mlp.gate_proj.weight", {c.intermediate_size, c.hidden_size});
  add(WeightRole::kUp, "mlp.up_proj.weight", {c.intermediate_size, c.hidden_size});
  if (c.mlp_bias) {
    add(WeightRole::kGateBias, "mlp.gate_proj.bias", {c.intermediate_size});
    add(WeightRole::kUpBias, "mlp.up_proj.bias", {c.intermediate_size});
  }
  add(WeightRole::kDown, "mlp.down_proj.weight", {c.hidden_size, c.intermediate_size});
  if (c.mlp_bias) add(WeightRole::kDownBias, "mlp.down_proj.bias", {c.hidden_size});
}

}  // namespace

const Family* FindFamily(std::string_view model_type) {
  for (const Family& family : kFamilies) {
    if (family.model_type == model_type) return &family;
  }
  return nullptr;
}

std::string SupportedFamilies() {
  return absl::StrJoin(kFamilies, ", ", [](std::string* out, const Family& family) {
    out->append(family.model_type);
  });
}

std::vector<WeightSpec> WeightsOf(const ModelConfig& config) {
  std::vector<WeightSpec> specs;
  specs.push_back({WeightRole::kEmbedding,
                   -1,
                   "model.embed_tokens.weight",
                   {config.vocab_size, config.hidden_size}});
  for (int64_t layer = 0; layer < config.num_layers; ++layer) AddBlock(config, layer, specs);
  specs.push_back({WeightRole::kFinalNorm, -1, "model.norm.weight", {config.hidden_size}});
  if (!config.tie_word_embeddings) {
    specs.push_back(
        {WeightRole::kHead, -1, "lm_head.weight", {config.vocab_size, config.hidden_size}});
  }
  return specs;
}

int64_t CountParameters(const ModelConfig& config) {
  int64_t total = 0;
  for (const WeightSpec& spec : WeightsOf(config)) {
    int64_t size = 1;
    for (int64_t dimension : spec.shape) size *= dimension;
    total += size;
  }
  return total;
}

}  // namespace trainerd::engine
