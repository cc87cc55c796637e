// SPDX-License-Identifier: Apache-2.0
#include "engine/model/gguf/architecture.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace trainerd::engine {
namespace {

constexpr GgufArchitecture kArchitectures[] = {
    {.model_type = "llama",
     .name = "llama",
     .has_interleaved_rope = true,
     .has_qkv_bias = true,
     .has_output_bias = true,
     .has_mlp_bias = true,
     .has_rope_factors = true},
    {.model_type = "mistral",
     .name = "llama",
     .has_interleaved_rope = true,
     .has_rope_factors = true},
    {.model_type = "qwen2", .name = "qwen2", .has_qkv_bias = true},
    {.model_type = "qwen2_5_vl", .name = "qwen2vl", .has_qkv_bias = true, .is_text_part = true},
    {.model_type = "qwen3", .name = "qwen3"},
    {.model_type = "qwen3_moe", .name = "qwen3moe"},
    {.model_type = "qwen3_vl", .name = "qwen3vl", .is_text_part = true},
    {.model_type = "gemma", .name = "gemma", .is_always_tied = true, .is_gemma = true},
    {.model_type = "gemma2",
     .name = "gemma2",
     .is_always_tied = true,
     .window_pattern = 2,
     .large_layers = 46,
     .is_gemma = true},
    {.model_type = "gemma3_text",
     .name = "gemma3",
     .window_pattern = 6,
     .large_layers = 62,
     .is_gemma = true},
    {.model_type = "phi3", .name = "phi3"},
    {.model_type = "granite",
     .name = "granite",
     .has_interleaved_rope = true,
     .has_rope_factors = true},
    {.model_type = "olmo2", .name = "olmo2", .needs_head = true},
    {.model_type = "smollm3",
     .name = "smollm3",
     .has_interleaved_rope = true,
     .no_rope_interval = 4},
};

// Without "blk.N.".
std::string_view NameInLayer(const ModelConfig& config, WeightRole role) {
  switch (role) {
    case WeightRole::kAttentionNorm:
      return "attn_norm.weight";
    case WeightRole::kQuery:
      return config.names.joint_qkv != nullptr ? "attn_qkv.weight" : "attn_q.weight";
    case WeightRole::kKey:
      return "attn_k.weight";
    case WeightRole::kValue:
      return "attn_v.weight";
    case WeightRole::kQueryBias:
      return "attn_q.bias";
    case WeightRole::kKeyBias:
      return "attn_k.bias";
    case WeightRole::kValueBias:
      return "attn_v.bias";
    case WeightRole::kQueryNorm:
      return "attn_q_norm.weight";
    case WeightRole::kKeyNorm:
      return "attn_k_norm.weight";
    case WeightRole::kOutput:
      return "attn_output.weight";
    case WeightRole::kOutputBias:
      return "attn_output.bias";
    case WeightRole::kAttentionOutputNorm:
      return "post_attention_norm.weight";
    case WeightRole::kMlpNorm:
      return "ffn_norm.weight";
    case WeightRole::kGate:
      return config.names.joint_gate_up != nullptr ? "ffn_up.weight" : "ffn_gate.weight";
    case WeightRole::kUp:
      return "ffn_up.weight";
    case WeightRole::kGateBias:
      return "ffn_gate.bias";
    case WeightRole::kUpBias:
      return "ffn_up.bias";
    case WeightRole::kDown:
      return "ffn_down.weight";
    case WeightRole::kDownBias:
      return "ffn_down.bias";
    case WeightRole::kMlpOutputNorm:
      return "post_ffw_norm.weight";
    case WeightRole::kRouter:
      return "ffn_gate_inp.weight";
    case WeightRole::kExpertGate:
      return "ffn_gate_exps.weight";
    case WeightRole::kExpertUp:
      return "ffn_up_exps.weight";
    case WeightRole::kExpertDown:
      return "ffn_down_exps.weight";
    case WeightRole::kEmbedding:
    case WeightRole::kFinalNorm:
    case WeightRole::kHead:
    case WeightRole::kAdapterA:
    case WeightRole::kAdapterB:
      break;
  }
  return "";
}

}  // namespace

const GgufArchitecture* FindGgufArchitecture(std::string_view model_type) {
  const auto* found =
      std::find_if(std::begin(kArchitectures), std::end(kArchitectures),
                   [&](const GgufArchitecture& entry) { return entry.model_type == model_type; });
  return found == std::end(kArchitectures) ? nullptr : found;
}

const GgufArchitecture* FindImportedArchitecture(std::string_view name) {
  const auto* found = std::find_if(
      std::begin(kArchitectures), std::end(kArchitectures),
      [&](const GgufArchitecture& entry) { return entry.name == name && !entry.is_text_part; });
  return found == std::end(kArchitectures) ? nullptr : found;
}

std::string ImportedArchitectures() {
  std::vector<std::string_view> names;
  for (const GgufArchitecture& entry : kArchitectures) {
    if (FindImportedArchitecture(entry.name) == &entry) names.push_back(entry.name);
  }
  return absl::StrJoin(names, ", ",
                       [](std::string* out, std::string_view name) { out->append(name); });
}

std::string GgufModelTypes() {
  return absl::StrJoin(kArchitectures, ", ", [](std::string* out, const GgufArchitecture& entry) {
    out->append(entry.model_type);
  });
}

std::string GgufNameOf(const ModelConfig& config, const WeightSpec& weight) {
  if (weight.role == WeightRole::kEmbedding) return "token_embd.weight";
  if (weight.role == WeightRole::kFinalNorm) return "output_norm.weight";
  if (weight.role == WeightRole::kHead) return "output.weight";
  return absl::StrCat("blk.", weight.layer, ".", std::string(NameInLayer(config, weight.role)));
}

int64_t InterleavedHeads(const GgufArchitecture& architecture, const ModelConfig& config,
                         WeightRole role) {
  if (!architecture.has_interleaved_rope) return 0;
  if (role == WeightRole::kQuery || role == WeightRole::kQueryBias) return config.num_heads;
  if (role == WeightRole::kKey || role == WeightRole::kKeyBias) return config.num_kv_heads;
  return 0;
}

int64_t HfRowOf(int64_t gguf_row, int64_t head_dim) {
  const int64_t in_head = gguf_row % head_dim;
  return gguf_row - in_head + in_head % 2 * (head_dim / 2) + in_head / 2;
}

int64_t GgufRowOf(int64_t hf_row, int64_t head_dim) {
  const int64_t in_head = hf_row % head_dim, half = head_dim / 2;
  return hf_row - in_head + in_head % half * 2 + in_head / half;
}

}  // namespace trainerd::engine
