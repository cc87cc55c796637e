// SPDX-License-Identifier: Apache-2.0
#include "engine/model/gguf/export_metadata.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <optional>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "engine/model/gguf/rope_factors.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

absl::Status Unsupported(std::string_view what) {
  return absl::UnimplementedError(absl::StrCat(
      "llama.cpp has no such model, so it cannot be exported as GGUF: ", std::string(what)));
}

// Of the layers with RoPE, the first one with or without a window; nullptr if there is none.
const RopeSpec* FirstRope(const ModelConfig& config, bool sliding) {
  for (const LayerSpec& layer : config.block.layers) {
    if (layer.rope && (layer.window > 0) == sliding) return &*layer.rope;
  }
  return nullptr;
}

const RopeSpec* AnyRope(const ModelConfig& config) {
  const RopeSpec* full = FirstRope(config, /*sliding=*/false);
  return full != nullptr ? full : FirstRope(config, /*sliding=*/true);
}

absl::Status CheckWeights(const ModelConfig& config, const GgufArchitecture& architecture) {
  const BlockSpec& block = config.block;
  if (block.mlp_bias && !architecture.has_mlp_bias) return Unsupported("mlp_bias is true");
  if (block.qkv_bias && !architecture.has_qkv_bias) return Unsupported("attention_bias is true");
  if (block.output_bias && !architecture.has_output_bias)
    return Unsupported("the attention's output projection has a bias");
  if (architecture.is_always_tied && !config.tie_word_embeddings)
    return Unsupported("the head is another matrix than the embedding (tie_word_embeddings)");
  return absl::OkStatus();
}

absl::Status CheckRopeLayers(const ModelConfig& config, const GgufArchitecture& architecture) {
  const std::vector<LayerSpec>& layers = config.block.layers;
  const auto interval = static_cast<size_t>(architecture.no_rope_interval);
  for (size_t i = 0; i < layers.size(); ++i) {
    const bool expected = interval == 0 || (i + 1) % interval != 0;
    if (layers[i].rope.has_value() != expected) {
      return Unsupported(
          absl::StrCat("layer ", i, expected ? " has no RoPE" : " has RoPE", " (no_rope_layers)"));
    }
  }
  return absl::OkStatus();
}

void AddWindow(int64_t window, const std::string& prefix, GgufEntries& entries) {
  entries.AddUint32(prefix + "attention.sliding_window", window);
}

// Gemma 2 and 3: all layers but every `pattern`th have the window.
absl::Status AddGemma(const ModelConfig& config, const GgufArchitecture& architecture,
                      const std::string& prefix, GgufEntries& entries) {
  const bool gemma2 = architecture.name == "gemma2";
  const BlockSpec& block = config.block;
  const bool large = config.num_layers == architecture.large_layers;
  const double divisor =
      static_cast<double>(large ? config.hidden_size / config.num_heads : config.head_dim);
  const double scale = block.attention_scale.value_or(0.0);
  if (std::fabs(scale * std::sqrt(divisor) - 1.0) > 1e-6) {
    return Unsupported(
        absl::StrCat("query_pre_attn_scalar ", 1.0 / (scale * scale), " is not ", divisor));
  }
  if (gemma2 && (!block.attention_soft_cap || !block.logits_soft_cap))
    return Unsupported("a soft cap is null");
  if (!gemma2 && block.attention_soft_cap) return Unsupported("attn_logit_softcapping is set");
  if (block.attention_soft_cap)
    entries.AddFloat32(prefix + "attn_logit_softcapping", *block.attention_soft_cap);
  if (block.logits_soft_cap)
    entries.AddFloat32(prefix + "final_logit_softcapping", *block.logits_soft_cap);

  int64_t window = 0;
  int64_t pattern = architecture.window_pattern;
  const std::vector<LayerSpec>& layers = block.layers;
  if (!gemma2) {
    const auto full = std::find_if(layers.begin(), layers.end(),
                                   [](const LayerSpec& layer) { return layer.window == 0; });
    if (full != layers.end()) pattern = full - layers.begin() + 1;
  }
  for (size_t i = 0; i < layers.size(); ++i) {
    const bool is_full = (static_cast<int64_t>(i) + 1) % pattern == 0;
    if ((layers[i].window == 0) != is_full)
      return Unsupported(absl::StrCat("the windows of the layers (layer ", i, ")"));
    window = std::max(window, layers[i].window);
  }
  if (window > 0) AddWindow(window, prefix, entries);
  if (pattern != architecture.window_pattern)
    entries.AddUint32(prefix + "attention.sliding_window_pattern", pattern);
  return absl::OkStatus();
}

// The divisors of Phi-3's frequencies, within and beyond the original positions.
void AddLongRope(const RopeSpec& rope, const std::string& prefix, GgufEntries& entries,
                 std::vector<ExtraTensor>& extra) {
  entries.AddUint32(prefix + "rope.scaling.original_context_length", rope.original_positions);
  entries.AddFloat32(prefix + "rope.scaling.attn_factor", rope.magnitude);
  extra.push_back({kRopeLongFactorsName,
                   std::vector<float>(rope.long_divisors.begin(), rope.long_divisors.end())});
  extra.push_back(
      {kRopeShortFactorsName, std::vector<float>(rope.divisors.begin(), rope.divisors.end())});
}

// How many frequencies belong to each axis of a position: time, height, width, and one that the
// models do not have.
absl::Status AddSections(const RopeSpec& rope, int64_t rotary_dim, const std::string& prefix,
                         GgufEntries& entries) {
  constexpr size_t kAxes = 4;
  const std::vector<int64_t>& sections = rope.sections;
  if (sections.empty() || sections.size() > kAxes ||
      std::accumulate(sections.begin(), sections.end(), int64_t{0}) != rotary_dim / 2) {
    return absl::InvalidArgumentError(
        absl::StrCat("config.json: llama.cpp needs \"mrope_section\" with up to ", kAxes,
                     " numbers whose sum is ", rotary_dim / 2, ", the frequencies of a head"));
  }
  std::vector<int32_t> padded(sections.begin(), sections.end());
  padded.resize(kAxes, 0);
  entries.AddInt32s(prefix + "rope.dimension_sections", padded);
  return absl::OkStatus();
}

absl::Status AddRope(const ModelConfig& config, const GgufArchitecture& architecture,
                     const std::string& prefix, GgufEntries& entries,
                     std::vector<ExtraTensor>& extra) {
  const RopeSpec* rope = AnyRope(config);
  if (rope == nullptr) return Unsupported("no layer has RoPE");
  const bool gemma3 = prefix == "gemma3.";
  const RopeSpec* sliding = FirstRope(config, /*sliding=*/true);
  for (const LayerSpec& layer : config.block.layers) {
    const RopeSpec* expected = gemma3 && layer.window > 0 ? sliding : rope;
    if (layer.rope && *layer.rope != *expected)
      return Unsupported("the layers have different RoPE");
  }
  const int64_t rotary_dim = rope->rotary_dim > 0 ? rope->rotary_dim : config.head_dim;
  entries.AddUint32(prefix + "rope.dimension_count", rotary_dim);
  entries.AddFloat32(prefix + "rope.freq_base", rope->theta);
  if (gemma3 && sliding != nullptr) {
    if (sliding->factor != 1.0 || sliding->llama3 || !sliding->divisors.empty())
      return Unsupported("RoPE of the layers with a window is scaled");
    entries.AddFloat32(prefix + "rope.freq_base_swa", sliding->theta);
  }
  if (rope->factor != 1.0) {
    entries.AddText(prefix + "rope.scaling.type", "linear");
    entries.AddFloat32(prefix + "rope.scaling.factor", rope->factor);
  }
  if (!rope->divisors.empty()) {
    if (architecture.name != "phi3") return Unsupported("rope_type longrope");
    AddLongRope(*rope, prefix, entries, extra);
  }
  if (architecture.is_text_part) RETURN_IF_ERROR(AddSections(*rope, rotary_dim, prefix, entries));
  if (rope->llama3) {
    if (!architecture.has_rope_factors) return Unsupported("rope_type llama3");
    extra.push_back(
        {kRopeFactorsName,
         FactorsOfScaling({.theta = rope->theta, .head_dim = rotary_dim}, *rope->llama3)});
  }
  return absl::OkStatus();
}

// llama.cpp has no layers without experts, and divides the weights of the chosen ones by their sum.
absl::Status AddExperts(const ModelConfig& config, const std::string& prefix,
                        GgufEntries& entries) {
  const ExpertsSpec& experts = config.block.experts;
  for (size_t i = 0; i < config.block.layers.size(); ++i) {
    if (!config.block.layers[i].has_experts)
      return Unsupported(absl::StrCat("layer ", i, " has no experts"));
  }
  if (!experts.normalizes) return Unsupported("norm_topk_prob is false");
  entries.AddUint32(prefix + "expert_count", experts.count);
  entries.AddUint32(prefix + "expert_used_count", experts.per_token);
  entries.AddUint32(prefix + "expert_feed_forward_length", experts.intermediate_size);
  return absl::OkStatus();
}

// The layers of Qwen3-VL that images are added to once more.
void AddDeepstack(const nlohmann::json& json, const std::string& prefix, GgufEntries& entries) {
  const nlohmann::json vision = json.value("vision_config", nlohmann::json::object());
  const nlohmann::json layers = vision.is_object()
                                    ? vision.value("deepstack_visual_indexes", nlohmann::json())
                                    : nlohmann::json();
  entries.AddUint32(prefix + "n_deepstack_layers",
                    layers.is_array() ? static_cast<int64_t>(layers.size()) : 0);
}

// Positions that llama.cpp computes as the model does.
int64_t ContextOf(const ModelConfig& config, bool knows_windows) {
  int64_t context = config.max_position_embeddings;
  if (knows_windows) return context;
  for (const LayerSpec& layer : config.block.layers) {
    if (layer.window > 0) context = std::min(context, layer.window);
  }
  return context;
}

}  // namespace

absl::Status AddModelEntries(const ModelConfig& config, const nlohmann::json& json,
                             const GgufArchitecture& architecture, GgufEntries& entries,
                             std::vector<ExtraTensor>& extra) {
  RETURN_IF_ERROR(CheckWeights(config, architecture));
  RETURN_IF_ERROR(CheckRopeLayers(config, architecture));
  if ((config.block.activation == Activation::kGeluTanh) != architecture.is_gemma)
    return Unsupported("the activation of the MLP is another");
  const std::string prefix = absl::StrCat(std::string(architecture.name), ".");
  entries.AddUint32(prefix + "vocab_size", config.vocab_size);
  entries.AddUint32(prefix + "context_length", ContextOf(config, architecture.window_pattern > 0));
  entries.AddUint32(prefix + "embedding_length", config.hidden_size);
  entries.AddUint32(prefix + "block_count", config.num_layers);
  entries.AddUint32(prefix + "feed_forward_length", config.intermediate_size);
  entries.AddUint32(prefix + "attention.head_count", config.num_heads);
  entries.AddUint32(prefix + "attention.head_count_kv", config.num_kv_heads);
  entries.AddUint32(prefix + "attention.key_length", config.head_dim);
  entries.AddUint32(prefix + "attention.value_length", config.head_dim);
  entries.AddFloat32(prefix + "attention.layer_norm_rms_epsilon", config.rms_norm_eps);
  RETURN_IF_ERROR(AddRope(config, architecture, prefix, entries, extra));
  if (architecture.window_pattern > 0) return AddGemma(config, architecture, prefix, entries);
  if (architecture.name == "qwen3moe") return AddExperts(config, prefix, entries);
  if (architecture.name == "qwen3vl") AddDeepstack(json, prefix, entries);
  if (architecture.name == "granite") {
    entries.AddFloat32(prefix + "attention.scale", config.block.attention_scale.value_or(0.0));
    entries.AddFloat32(prefix + "embedding_scale", config.block.embedding_scale);
    entries.AddFloat32(prefix + "residual_scale", config.block.residual_scale);
    entries.AddFloat32(prefix + "logit_scale", 1.0 / config.block.logits_scale);
  }
  return absl::OkStatus();
}

}  // namespace trainerd::engine
