// SPDX-License-Identifier: Apache-2.0
#include "engine/model/gguf/import_config.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "engine/formats/float_values.h"
#include "engine/model/gguf/rope_factors.h"
#include "proto/base/plain_text.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

using Json = nlohmann::ordered_json;

// An architecture that is read: the same name in both worlds.
struct Imported {
  std::string_view model_type;
  std::string_view hf_architecture;
};
constexpr Imported kImported[] = {
    {"llama", "LlamaForCausalLM"},
    {"qwen2", "Qwen2ForCausalLM"},
    {"qwen3", "Qwen3ForCausalLM"},
};

// The double that is written with the fewest digits which still give the same fp32 number: 1e-05
// for the fp32 number next to it.
double ShortestDouble(double number) {
  char text[64];
  const auto [end, error] = std::to_chars(text, text + sizeof(text), static_cast<float>(number));
  double result = number;
  if (error == std::errc() && absl::SimpleAtod(absl::string_view(text, end - text), &result))
    return result;
  return number;
}

absl::StatusOr<double> PositiveNumber(const GgufMetadata& metadata, const std::string& key) {
  ASSIGN_OR_RETURN(const double number, metadata.Number(key));
  if (number > 0.0 && std::isfinite(number)) return ShortestDouble(number);
  return absl::InvalidArgumentError(absl::StrCat(key, " is ", number, "; it must be positive"));
}

// "rope_scaling": null, or that of Llama 3.1, whose factors the file holds as a tensor.
absl::StatusOr<Json> RopeScaling(const GgufFile& file, const std::string& prefix, double theta,
                                 int64_t head_dim) {
  ASSIGN_OR_RETURN(const std::optional<std::string> type,
                   file.metadata().OptionalText(prefix + "rope.scaling.type"));
  if (type && *type == "linear") {
    ASSIGN_OR_RETURN(const double factor,
                     PositiveNumber(file.metadata(), prefix + "rope.scaling.factor"));
    return Json{{"rope_type", "linear"}, {"factor", factor}};
  }
  if (type && *type != "none") {
    return absl::UnimplementedError(absl::StrCat(prefix, "rope.scaling.type \"", PlainText(*type),
                                                 "\" is not supported; supported are none and "
                                                 "linear"));
  }
  const GgufTensor* factors = file.Find(kRopeFactorsName);
  if (factors == nullptr) return Json(nullptr);
  if (factors->type != GgufType::kF32 || factors->num_elements() != head_dim / 2) {
    return absl::InvalidArgumentError(
        absl::StrCat("tensor \"", kRopeFactorsName, "\" is not F32 [", head_dim / 2, "]"));
  }
  std::vector<float> values(static_cast<size_t>(head_dim / 2));
  Dequantize(GgufType::kF32, file.Bytes(*factors), absl::MakeSpan(values));
  const std::optional<Llama3RopeScaling> scaling =
      ScalingOfFactors({.theta = theta, .head_dim = head_dim}, values);
  if (!scaling) {
    return absl::UnimplementedError(
        absl::StrCat("the RoPE factors in tensor \"", kRopeFactorsName,
                     "\" are not those of Llama 3.1 or 3.2, and no others are supported"));
  }
  return Json{{"rope_type", "llama3"},
              {"factor", scaling->factor},
              {"low_freq_factor", scaling->low_freq_factor},
              {"high_freq_factor", scaling->high_freq_factor},
              {"original_max_position_embeddings", scaling->original_max_position_embeddings}};
}

Json IdOrNull(std::optional<int64_t> id) { return id ? Json(*id) : Json(nullptr); }

struct Sizes {
  int64_t hidden = 0, intermediate = 0, layers = 0, heads = 0, kv_heads = 0, head_dim = 0;
};

absl::StatusOr<Sizes> ReadSizes(const GgufFile& file, const std::string& prefix) {
  const GgufMetadata& metadata = file.metadata();
  Sizes sizes;
  ASSIGN_OR_RETURN(sizes.hidden, metadata.Count(prefix + "embedding_length"));
  ASSIGN_OR_RETURN(sizes.intermediate, metadata.Count(prefix + "feed_forward_length"));
  ASSIGN_OR_RETURN(sizes.layers, metadata.Count(prefix + "block_count"));
  ASSIGN_OR_RETURN(sizes.heads, metadata.Count(prefix + "attention.head_count"));
  const std::string kv_key = prefix + "attention.head_count_kv";
  sizes.kv_heads = sizes.heads;
  if (metadata.Has(kv_key)) {
    ASSIGN_OR_RETURN(sizes.kv_heads, metadata.Count(kv_key));
  }
  // So that a damaged number does not cost memory.
  if (static_cast<uint64_t>(sizes.layers) > file.tensors().size()) {
    return absl::InvalidArgumentError(absl::StrCat(prefix, "block_count is ", sizes.layers,
                                                   ", but the file has ", file.tensors().size(),
                                                   " tensors"));
  }
  if (sizes.heads == 0)
    return absl::InvalidArgumentError(absl::StrCat(prefix, "attention.head_count is 0"));
  sizes.head_dim = sizes.hidden / sizes.heads;
  for (const char* name : {"attention.key_length", "attention.value_length"}) {
    ASSIGN_OR_RETURN(const std::optional<int64_t> length, metadata.OptionalCount(prefix + name));
    if (length && name == std::string_view("attention.key_length")) sizes.head_dim = *length;
    if (length && *length != sizes.head_dim) {
      return absl::UnimplementedError(
          absl::StrCat(prefix, name, " ", *length, " differs from the key length"));
    }
  }
  ASSIGN_OR_RETURN(const std::optional<int64_t> rotated,
                   metadata.OptionalCount(prefix + "rope.dimension_count"));
  if (rotated && *rotated != sizes.head_dim) {
    return absl::UnimplementedError(absl::StrCat(prefix, "rope.dimension_count ", *rotated,
                                                 " is not the size of a head, ", sizes.head_dim));
  }
  return sizes;
}

// The numbers that the decoder would ignore.
absl::Status CheckPlain(const GgufMetadata& metadata, const std::string& prefix) {
  for (const char* name : {"expert_count", "attention.sliding_window"}) {
    const std::string key = prefix + name;
    ASSIGN_OR_RETURN(const std::optional<int64_t> value, metadata.OptionalCount(key));
    if (value && *value != 0)
      return absl::UnimplementedError(absl::StrCat(key, " ", *value, " is not supported"));
  }
  for (const char* name : {"attention.scale", "residual_scale", "embedding_scale", "logit_scale"}) {
    if (metadata.Has(prefix + name))
      return absl::UnimplementedError(absl::StrCat(prefix, name, " is not supported"));
  }
  return absl::OkStatus();
}

const Imported* FindImported(std::string_view architecture) {
  const auto* found =
      std::find_if(std::begin(kImported), std::end(kImported),
                   [&](const Imported& entry) { return entry.model_type == architecture; });
  return found == std::end(kImported) ? nullptr : found;
}

// Adds the keys of which the families differ.
void AddFamilyKeys(const GgufFile& file, const std::string& model_type, Json& config) {
  if (model_type == "llama") {
    config["attention_bias"] = file.Find("blk.0.attn_output.bias") != nullptr;
    config["mlp_bias"] = file.Find("blk.0.ffn_down.bias") != nullptr;
  } else {
    config["use_sliding_window"] = false;
    if (model_type == "qwen3") config["attention_bias"] = false;
  }
}

}  // namespace

absl::StatusOr<std::string> ImportedModelType(const GgufMetadata& metadata) {
  ASSIGN_OR_RETURN(const std::string architecture, metadata.Text("general.architecture"));
  if (FindImported(architecture) != nullptr) return architecture;
  return absl::UnimplementedError(absl::StrCat("the architecture \"", PlainText(architecture),
                                               "\" (general.architecture) is not supported; "
                                               "supported are llama, qwen2, qwen3"));
}

absl::StatusOr<int64_t> ImportedContextLength(const GgufMetadata& metadata) {
  ASSIGN_OR_RETURN(const std::string architecture, ImportedModelType(metadata));
  return metadata.Count(architecture + ".context_length");
}

absl::StatusOr<std::string> ImportConfig(const GgufFile& file, const ImportedTokenizer& tokenizer,
                                         const std::string& dtype) {
  const GgufMetadata& metadata = file.metadata();
  ASSIGN_OR_RETURN(const std::string model_type, ImportedModelType(metadata));
  const std::string prefix = model_type + ".";
  RETURN_IF_ERROR(CheckPlain(metadata, prefix));
  ASSIGN_OR_RETURN(const Sizes sizes, ReadSizes(file, prefix));
  ASSIGN_OR_RETURN(const int64_t context, ImportedContextLength(metadata));
  ASSIGN_OR_RETURN(const double eps,
                   PositiveNumber(metadata, prefix + "attention.layer_norm_rms_epsilon"));
  double theta = 10000.0;
  if (metadata.Has(prefix + "rope.freq_base")) {
    ASSIGN_OR_RETURN(theta, PositiveNumber(metadata, prefix + "rope.freq_base"));
  }
  ASSIGN_OR_RETURN(const Json scaling, RopeScaling(file, prefix, theta, sizes.head_dim));
  const GgufTensor* embedding = file.Find("token_embd.weight");
  const int64_t rows =
      embedding == nullptr || embedding->shape.empty() ? 0 : embedding->shape.front();
  if (tokenizer.num_tokens > rows) {
    return absl::InvalidArgumentError(absl::StrCat("the file has ", tokenizer.num_tokens,
                                                   " tokens, but tensor \"token_embd.weight\" has ",
                                                   rows, " rows"));
  }
  Json config = {
      {"architectures", Json::array({std::string(FindImported(model_type)->hf_architecture)})},
      {"attention_dropout", 0.0},
      {"bos_token_id", IdOrNull(tokenizer.bos)},
      {"eos_token_id", IdOrNull(tokenizer.eos)},
      {"pad_token_id", IdOrNull(tokenizer.pad)},
      {"head_dim", sizes.head_dim},
      {"hidden_act", "silu"},
      {"hidden_size", sizes.hidden},
      {"initializer_range", 0.02},
      {"intermediate_size", sizes.intermediate},
      {"max_position_embeddings", context},
      {"model_type", model_type},
      {"num_attention_heads", sizes.heads},
      {"num_hidden_layers", sizes.layers},
      {"num_key_value_heads", sizes.kv_heads},
      {"rms_norm_eps", eps},
      {"rope_scaling", scaling},
      {"rope_theta", theta},
      {"tie_word_embeddings", file.Find("output.weight") == nullptr},
      {"torch_dtype", dtype},
      {"use_cache", true},
      {"vocab_size", rows},
  };
  AddFamilyKeys(file, model_type, config);
  return config.dump(2) + "\n";
}

}  // namespace trainerd::engine
