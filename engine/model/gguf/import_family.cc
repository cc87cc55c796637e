// SPDX-License-Identifier: Apache-2.0
// Source of the values that llama.cpp assumes for keys that a file omits: its loaders of the
// architectures.
#include "engine/model/gguf/import_family.h"

#include <charconv>
#include <cmath>
#include <string_view>
#include <system_error>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

using Json = nlohmann::ordered_json;

// What changes the result of a model that has it.
constexpr const char* kMeaningful[] = {"expert_count",           "attention.sliding_window",
                                       "attention.scale",        "residual_scale",
                                       "embedding_scale",        "logit_scale",
                                       "attn_logit_softcapping", "final_logit_softcapping"};

Json OrNull(std::optional<double> number) { return number ? Json(*number) : Json(nullptr); }

// The window of all layers but every `pattern`th.
absl::Status AddWindows(const GgufArchitecture& architecture, const ImportedSizes& sizes,
                        ArchitectureKeys& keys, Json& config) {
  ASSIGN_OR_RETURN(const int64_t window, keys.CountOr("attention.sliding_window", 0));
  ASSIGN_OR_RETURN(const int64_t pattern,
                   keys.CountOr("attention.sliding_window_pattern", architecture.window_pattern));
  if (pattern < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat(keys.prefix(), "attention.sliding_window_pattern is ", pattern));
  }
  config["sliding_window"] = window > 0 ? Json(window) : Json(nullptr);
  Json types = Json::array();
  for (int64_t i = 0; i < sizes.layers; ++i) {
    const bool is_full = window == 0 || (i + 1) % pattern == 0;
    types.push_back(is_full ? "full_attention" : "sliding_attention");
  }
  config["layer_types"] = std::move(types);
  return absl::OkStatus();
}

absl::Status AddGemma(const GgufArchitecture& architecture, const ImportedSizes& sizes,
                      ArchitectureKeys& keys, Json& config) {
  config["attention_bias"] = false;
  if (architecture.window_pattern == 0) return absl::OkStatus();
  const bool large = sizes.layers == architecture.large_layers;
  config["query_pre_attn_scalar"] = large ? sizes.hidden / sizes.heads : sizes.head_dim;
  const bool gemma2 = architecture.name == "gemma2";
  ASSIGN_OR_RETURN(std::optional<double> attention_cap,
                   keys.OptionalNumber("attn_logit_softcapping"));
  ASSIGN_OR_RETURN(std::optional<double> logits_cap,
                   keys.OptionalNumber("final_logit_softcapping"));
  if (gemma2) {
    attention_cap = attention_cap.value_or(50.0);
    logits_cap = logits_cap.value_or(30.0);
  } else {
    ASSIGN_OR_RETURN(config["rope_local_base_freq"], keys.NumberOr("rope.freq_base_swa", 10'000.0));
  }
  config["attn_logit_softcapping"] = OrNull(attention_cap);
  config["final_logit_softcapping"] = OrNull(logits_cap);
  return AddWindows(architecture, sizes, keys, config);
}

absl::Status AddPhi3(const ImportedSizes& sizes, ArchitectureKeys& keys, Json& config) {
  ASSIGN_OR_RETURN(const int64_t window, keys.CountOr("attention.sliding_window", 0));
  config["sliding_window"] = window > 0 ? Json(window) : Json(nullptr);
  // Readers truncate the product with the size of a head.
  const auto head_dim = static_cast<double>(sizes.head_dim);
  double factor = static_cast<double>(sizes.rotary_dim) / head_dim;
  if (factor * head_dim < static_cast<double>(sizes.rotary_dim))
    factor = std::nextafter(factor, 1.0);
  config["partial_rotary_factor"] = factor;
  return absl::OkStatus();
}

absl::Status AddGranite(ArchitectureKeys& keys, Json& config) {
  config["attention_bias"] = false;
  config["mlp_bias"] = false;
  ASSIGN_OR_RETURN(config["attention_multiplier"], keys.NumberOr("attention.scale", 1.0));
  ASSIGN_OR_RETURN(config["embedding_multiplier"], keys.NumberOr("embedding_scale", 1.0));
  ASSIGN_OR_RETURN(config["residual_multiplier"], keys.NumberOr("residual_scale", 1.0));
  ASSIGN_OR_RETURN(config["logits_scaling"], keys.Number("logit_scale"));
  return absl::OkStatus();
}

void AddSmolLm3(const GgufArchitecture& architecture, const ImportedSizes& sizes, Json& config) {
  config["attention_bias"] = false;
  config["mlp_bias"] = false;
  config["use_sliding_window"] = false;
  config["no_rope_layer_interval"] = architecture.no_rope_interval;
  Json has_rope = Json::array();
  for (int64_t i = 0; i < sizes.layers; ++i)
    has_rope.push_back((i + 1) % architecture.no_rope_interval == 0 ? 0 : 1);
  config["no_rope_layers"] = std::move(has_rope);
}

absl::Status AddExperts(ArchitectureKeys& keys, Json& config) {
  config["attention_bias"] = false;
  config["use_sliding_window"] = false;
  config["decoder_sparse_step"] = 1;
  config["mlp_only_layers"] = Json::array();
  config["norm_topk_prob"] = true;
  config["output_router_logits"] = false;
  config["router_aux_loss_coef"] = 0.001;
  ASSIGN_OR_RETURN(config["num_experts"], keys.Count("expert_count"));
  ASSIGN_OR_RETURN(config["num_experts_per_tok"], keys.Count("expert_used_count"));
  ASSIGN_OR_RETURN(config["moe_intermediate_size"], keys.Count("expert_feed_forward_length"));
  return absl::OkStatus();
}

}  // namespace

double ShortestDouble(double number) {
  char text[64];
  const auto [end, error] = std::to_chars(text, text + sizeof(text), static_cast<float>(number));
  double result = number;
  if (error == std::errc() && absl::SimpleAtod(absl::string_view(text, end - text), &result))
    return result;
  return number;
}

std::string ArchitectureKeys::Key(const std::string& name) {
  read_.insert(name);
  return prefix_ + name;
}

absl::StatusOr<int64_t> ArchitectureKeys::Count(const std::string& name) {
  return metadata_.Count(Key(name));
}

absl::StatusOr<int64_t> ArchitectureKeys::CountOr(const std::string& name, int64_t fallback) {
  ASSIGN_OR_RETURN(const std::optional<int64_t> count, metadata_.OptionalCount(Key(name)));
  return count.value_or(fallback);
}

absl::StatusOr<double> ArchitectureKeys::Number(const std::string& name) {
  const std::string key = Key(name);
  ASSIGN_OR_RETURN(const double number, metadata_.Number(key));
  if (number > 0.0 && std::isfinite(number)) return ShortestDouble(number);
  return absl::InvalidArgumentError(absl::StrCat(key, " is ", number, "; it must be positive"));
}

absl::StatusOr<std::optional<double>> ArchitectureKeys::OptionalNumber(const std::string& name) {
  if (!metadata_.Has(Key(name))) return std::nullopt;
  return Number(name);
}

absl::StatusOr<double> ArchitectureKeys::NumberOr(const std::string& name, double fallback) {
  ASSIGN_OR_RETURN(const std::optional<double> number, OptionalNumber(name));
  return number.value_or(fallback);
}

absl::StatusOr<std::optional<std::string>> ArchitectureKeys::OptionalText(const std::string& name) {
  return metadata_.OptionalText(Key(name));
}

absl::Status ArchitectureKeys::CheckAllRead() const {
  for (const char* name : kMeaningful) {
    const std::string key = prefix_ + name;
    if (read_.contains(name) || !metadata_.Has(key)) continue;
    // An integer or a floating-point number.
    const absl::StatusOr<int64_t> count = metadata_.Count(key);
    const absl::StatusOr<double> number = metadata_.Number(key);
    if ((count.ok() && *count == 0) || (number.ok() && *number == 0.0)) continue;
    const std::string value = count.ok()    ? absl::StrCat(" ", *count)
                              : number.ok() ? absl::StrCat(" ", *number)
                                            : "";
    return absl::UnimplementedError(absl::StrCat(key, value, " is not supported"));
  }
  return absl::OkStatus();
}

absl::Status AddFamilyKeys(const GgufArchitecture& architecture, const ImportedSizes& sizes,
                           const ImportedBiases& biases, ArchitectureKeys& keys, Json& config) {
  if (architecture.is_gemma) return AddGemma(architecture, sizes, keys, config);
  if (architecture.name == "phi3") return AddPhi3(sizes, keys, config);
  if (architecture.name == "granite") return AddGranite(keys, config);
  if (architecture.name == "qwen3moe") return AddExperts(keys, config);
  if (architecture.no_rope_interval > 0) {
    AddSmolLm3(architecture, sizes, config);
    return absl::OkStatus();
  }
  if (architecture.name == "llama") {
    config["attention_bias"] = biases.attention;
    config["mlp_bias"] = biases.mlp;
    return absl::OkStatus();
  }
  if (architecture.name == "olmo2" || architecture.name == "qwen3")
    config["attention_bias"] = false;
  if (architecture.name != "olmo2") config["use_sliding_window"] = false;
  return absl::OkStatus();
}

}  // namespace trainerd::engine
