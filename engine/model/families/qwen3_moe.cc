// SPDX-License-Identifier: Apache-2.0
// Qwen3-MoE: Qwen3 with a mixture of experts instead of the MLP in all or some layers.
// Source: transformers 5.23.0, models/qwen3_moe.
#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/model/families/family.h"

namespace trainerd::engine::families {
namespace {

void ReadExperts(ConfigReader& config, ModelConfig& model) {
  ExpertsSpec& experts = model.block.experts;
  const char* count_key = config.Has("num_experts") ? "num_experts" : "num_local_experts";
  experts.count = config.PositiveInt(count_key, 128, /*limit=*/65536);
  experts.per_token = config.PositiveInt("num_experts_per_tok", 8);
  experts.intermediate_size = config.PositiveInt("moe_intermediate_size", 768);
  experts.normalizes = config.Bool("norm_topk_prob", false);
  if (experts.per_token > experts.count) {
    return config.Invalid(
        "num_experts_per_tok",
        absl::StrCat("is ", experts.per_token, ", and the model has ", experts.count, " experts"));
  }
  const double factor = config.NonNegativeNumber("router_aux_loss_coef", 0.001);
  if (config.Bool("output_router_logits", false)) experts.balance_factor = factor;
}

void ReadBlock(ConfigReader& config, ModelConfig& model) {
  BlockSpec& block = model.block;
  block.qk_norm = QkNorm::kPerHead;
  block.qkv_bias = block.output_bias = config.Bool("attention_bias", false);
  ReadExperts(config, model);
  std::optional<int64_t> window;
  if (config.Bool("use_sliding_window", false)) window = SlidingWindow(config, 4096);
  const auto step = static_cast<size_t>(config.PositiveInt("decoder_sparse_step", 1));
  std::vector<int64_t> dense;
  if (config.Has("mlp_only_layers")) dense = config.IntList("mlp_only_layers", 0);
  for (size_t i = 0; i < block.layers.size(); ++i) {
    block.layers[i].window = window.value_or(0);
    const bool is_listed =
        std::find(dense.begin(), dense.end(), static_cast<int64_t>(i)) != dense.end();
    block.layers[i].has_experts = !is_listed && (i + 1) % step == 0;
  }
}

}  // namespace

Family Qwen3Moe() {
  return {.model_type = "qwen3_moe",
          .architecture = "Qwen3MoeForCausalLM",
          .defaults = {.num_kv_heads = 4, .max_position_embeddings = 32768},
          .read_block = ReadBlock};
}

}  // namespace trainerd::engine::families
