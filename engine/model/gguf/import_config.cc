// SPDX-License-Identifier: Apache-2.0
#include "engine/model/gguf/import_config.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/model/families/families.h"
#include "engine/model/gguf/import_family.h"
#include "engine/model/gguf/rope_factors.h"
#include "proto/base/plain_text.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

using Json = nlohmann::ordered_json;

// A divisor for each of `count` frequencies; empty if the file has no such tensor.
absl::StatusOr<std::vector<float>> Factors(const GgufFile& file, const char* name, int64_t count) {
  std::vector<float> values;
  const GgufTensor* tensor = file.Find(name);
  if (tensor == nullptr) return values;
  if (tensor->type != GgufType::kF32 || tensor->num_elements() != count) {
    return absl::InvalidArgumentError(
        absl::StrCat("tensor \"", name, "\" is not F32 [", count, "]"));
  }
  values.resize(static_cast<size_t>(count));
  Dequantize(GgufType::kF32, file.Bytes(*tensor), absl::MakeSpan(values));
  return values;
}

Json NumbersJson(const std::vector<float>& values) {
  Json list = Json::array();
  for (const float value : values) list.push_back(ShortestDouble(value));
  return list;
}

// Phi-3's: the file holds both lists of factors.
absl::StatusOr<Json> LongRope(ArchitectureKeys& keys, const std::vector<float>& short_factors,
                              const std::vector<float>& long_factors, double attention_factor) {
  if (short_factors.empty() || long_factors.empty()) {
    return absl::NotFoundError(absl::StrCat("one of the tensors \"", kRopeShortFactorsName,
                                            "\" and \"", kRopeLongFactorsName, "\" is missing"));
  }
  ASSIGN_OR_RETURN(const int64_t original, keys.Count("rope.scaling.original_context_length"));
  ASSIGN_OR_RETURN(const int64_t context, keys.Count("context_length"));
  Json rope = {{"rope_type", "longrope"},
               {"short_factor", NumbersJson(short_factors)},
               {"long_factor", NumbersJson(long_factors)},
               {"original_max_position_embeddings", original}};
  // Exact if it is the one that readers compute. Source: transformers, modeling_rope_utils.py.
  const double stretch = static_cast<double>(context) / static_cast<double>(original);
  const double computed =
      stretch > 1.0 ? std::sqrt(1.0 + std::log(stretch) / std::log(static_cast<double>(original)))
                    : 1.0;
  if (static_cast<float>(computed) != static_cast<float>(attention_factor))
    rope["attention_factor"] = attention_factor;
  return rope;
}

// "rope_scaling": null, or that of Llama 3.1 or Phi-3, whose factors the file holds as tensors.
absl::StatusOr<Json> RopeScaling(const GgufFile& file, ArchitectureKeys& keys, double theta,
                                 int64_t rotary_dim) {
  ASSIGN_OR_RETURN(const std::optional<std::string> type, keys.OptionalText("rope.scaling.type"));
  ASSIGN_OR_RETURN(const double attention_factor, keys.NumberOr("rope.scaling.attn_factor", 1.0));
  ASSIGN_OR_RETURN(const std::vector<float> short_factors,
                   Factors(file, kRopeShortFactorsName, rotary_dim / 2));
  ASSIGN_OR_RETURN(const std::vector<float> long_factors,
                   Factors(file, kRopeLongFactorsName, rotary_dim / 2));
  if (!short_factors.empty() || !long_factors.empty())
    return LongRope(keys, short_factors, long_factors, attention_factor);
  if (attention_factor != 1.0) {
    return absl::UnimplementedError(absl::StrCat(keys.prefix(), "rope.scaling.attn_factor ",
                                                 attention_factor, " is not supported"));
  }
  if (type && *type == "linear") {
    ASSIGN_OR_RETURN(const double factor, keys.Number("rope.scaling.factor"));
    return Json{{"rope_type", "linear"}, {"factor", factor}};
  }
  if (type && *type != "none") {
    return absl::UnimplementedError(absl::StrCat(keys.prefix(), "rope.scaling.type \"",
                                                 PlainText(*type),
                                                 "\" is not supported; supported are none and "
                                                 "linear"));
  }
  ASSIGN_OR_RETURN(const std::vector<float> factors,
                   Factors(file, kRopeFactorsName, rotary_dim / 2));
  if (factors.empty()) return Json(nullptr);
  const std::optional<Llama3RopeScaling> scaling =
      ScalingOfFactors({.theta = theta, .head_dim = rotary_dim}, factors);
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

// Of the keys and value of a head, and of what RoPE rotates of it.
absl::Status ReadHeadSizes(const GgufArchitecture& architecture, ArchitectureKeys& keys,
                           ImportedSizes& sizes) {
  if (sizes.heads == 0)
    return absl::InvalidArgumentError(absl::StrCat(keys.prefix(), "attention.head_count is 0"));
  ASSIGN_OR_RETURN(sizes.head_dim,
                   keys.CountOr("attention.key_length", sizes.hidden / sizes.heads));
  ASSIGN_OR_RETURN(const int64_t value_length,
                   keys.CountOr("attention.value_length", sizes.head_dim));
  if (value_length != sizes.head_dim) {
    return absl::UnimplementedError(absl::StrCat(keys.prefix(), "attention.value_length ",
                                                 value_length, " differs from the key length ",
                                                 sizes.head_dim));
  }
  ASSIGN_OR_RETURN(sizes.rotary_dim, keys.CountOr("rope.dimension_count", sizes.head_dim));
  const bool is_part = architecture.name == "phi3" && sizes.rotary_dim > 0 &&
                       sizes.rotary_dim < sizes.head_dim && sizes.rotary_dim % 2 == 0;
  if (sizes.rotary_dim == sizes.head_dim || is_part) return absl::OkStatus();
  return absl::UnimplementedError(absl::StrCat(keys.prefix(), "rope.dimension_count ",
                                               sizes.rotary_dim, " is not the size of a head, ",
                                               sizes.head_dim));
}

absl::StatusOr<ImportedSizes> ReadSizes(const GgufFile& file, const GgufArchitecture& architecture,
                                        ArchitectureKeys& keys) {
  ImportedSizes sizes;
  ASSIGN_OR_RETURN(sizes.hidden, keys.Count("embedding_length"));
  ASSIGN_OR_RETURN(sizes.intermediate, keys.Count("feed_forward_length"));
  ASSIGN_OR_RETURN(sizes.layers, keys.Count("block_count"));
  ASSIGN_OR_RETURN(sizes.heads, keys.Count("attention.head_count"));
  ASSIGN_OR_RETURN(sizes.kv_heads, keys.CountOr("attention.head_count_kv", sizes.heads));
  // So that a damaged number does not cost memory.
  if (static_cast<uint64_t>(sizes.layers) > file.tensors().size()) {
    return absl::InvalidArgumentError(absl::StrCat(keys.prefix(), "block_count is ", sizes.layers,
                                                   ", but the file has ", file.tensors().size(),
                                                   " tensors"));
  }
  RETURN_IF_ERROR(ReadHeadSizes(architecture, keys, sizes));
  return sizes;
}

// Where the architecture needs a head in the file, a tied model has its embedding there once more.
bool IsTied(const GgufFile& file, const GgufArchitecture& architecture) {
  const GgufTensor* head = file.Find("output.weight");
  const GgufTensor* embedding = file.Find("token_embd.weight");
  if (head == nullptr || embedding == nullptr) return head == nullptr;
  return architecture.needs_head && head->type == embedding->type &&
         file.Bytes(*head) == file.Bytes(*embedding);
}

// Rows of the embedding. Errors: fewer than the tokens.
absl::StatusOr<int64_t> VocabularySize(const GgufFile& file, int64_t num_tokens) {
  const GgufTensor* embedding = file.Find("token_embd.weight");
  const int64_t rows =
      embedding == nullptr || embedding->shape.empty() ? 0 : embedding->shape.front();
  if (num_tokens <= rows) return rows;
  return absl::InvalidArgumentError(absl::StrCat("the file has ", num_tokens,
                                                 " tokens, but tensor \"token_embd.weight\" has ",
                                                 rows, " rows"));
}

}  // namespace

absl::StatusOr<const GgufArchitecture*> ImportedArchitecture(const GgufMetadata& metadata) {
  ASSIGN_OR_RETURN(const std::string name, metadata.Text("general.architecture"));
  if (const GgufArchitecture* found = FindImportedArchitecture(name)) return found;
  return absl::UnimplementedError(absl::StrCat(
      "the architecture \"", PlainText(name),
      "\" (general.architecture) is not supported; supported are ", ImportedArchitectures(),
      "; for another one, and for a vision-language model, download the model's "
      "Hugging Face folder"));
}

absl::StatusOr<int64_t> ImportedContextLength(const GgufMetadata& metadata) {
  ASSIGN_OR_RETURN(const GgufArchitecture* architecture, ImportedArchitecture(metadata));
  return metadata.Count(absl::StrCat(std::string(architecture->name), ".context_length"));
}

absl::StatusOr<std::string> ImportConfig(const GgufFile& file, const ImportedTokenizer& tokenizer,
                                         const std::string& dtype) {
  const GgufMetadata& metadata = file.metadata();
  ASSIGN_OR_RETURN(const GgufArchitecture* architecture, ImportedArchitecture(metadata));
  const Family& family = *FindFamily(architecture->model_type);
  ArchitectureKeys keys(metadata, absl::StrCat(std::string(architecture->name), "."));
  ASSIGN_OR_RETURN(const ImportedSizes sizes, ReadSizes(file, *architecture, keys));
  ASSIGN_OR_RETURN(const int64_t context, ImportedContextLength(metadata));
  ASSIGN_OR_RETURN(const double eps, keys.Number("attention.layer_norm_rms_epsilon"));
  ASSIGN_OR_RETURN(const double theta, keys.NumberOr("rope.freq_base", 10000.0));
  ASSIGN_OR_RETURN(const Json scaling, RopeScaling(file, keys, theta, sizes.rotary_dim));
  ASSIGN_OR_RETURN(const int64_t rows, VocabularySize(file, tokenizer.num_tokens));
  Json config = {
      {"architectures", Json::array({std::string(family.architecture)})},
      {"attention_dropout", 0.0},
      {"bos_token_id", IdOrNull(tokenizer.bos)},
      {"eos_token_id", IdOrNull(tokenizer.eos)},
      {"pad_token_id", IdOrNull(tokenizer.pad)},
      {"head_dim", sizes.head_dim},
      {family.defaults.activation_key, family.defaults.activation},
      {"hidden_size", sizes.hidden},
      {"initializer_range", 0.02},
      {"intermediate_size", sizes.intermediate},
      {"max_position_embeddings", context},
      {"model_type", std::string(family.model_type)},
      {"num_attention_heads", sizes.heads},
      {"num_hidden_layers", sizes.layers},
      {"num_key_value_heads", sizes.kv_heads},
      {"rms_norm_eps", eps},
      {"rope_scaling", scaling},
      {"rope_theta", theta},
      {"tie_word_embeddings", IsTied(file, *architecture)},
      {"torch_dtype", dtype},
      {"use_cache", true},
      {"vocab_size", rows},
  };
  // transformers looks for it here, too.
  if (const auto original = scaling.find("original_max_position_embeddings");
      original != scaling.end() && architecture->name == "phi3")
    config["original_max_position_embeddings"] = *original;
  RETURN_IF_ERROR(AddFamilyKeys(*architecture, sizes,
                                {.attention = file.Find("blk.0.attn_output.bias") != nullptr,
                                 .mlp = file.Find("blk.0.ffn_down.bias") != nullptr},
                                keys, config));
  RETURN_IF_ERROR(keys.CheckAllRead());
  return config.dump(2) + "\n";
}

}  // namespace trainerd::engine
