// SPDX-License-Identifier: Apache-2.0
#include "engine/model/config/model_config.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "engine/formats/json.h"
#include "engine/model/config/config_reader.h"
#include "engine/model/config/rope_parameters.h"
#include "engine/model/families/families.h"
#include "proto/base/atomic_file.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

using Json = nlohmann::json;

// Bounds the memory for a config.json that is wrong.
constexpr int64_t kMaxLayers = 10'000;

void ReadSizes(ConfigReader& config, const ConfigDefaults& defaults, ModelConfig& model) {
  model.vocab_size = config.PositiveInt("vocab_size");
  model.hidden_size = config.PositiveInt("hidden_size");
  model.intermediate_size = config.PositiveInt("intermediate_size");
  model.num_layers = config.PositiveInt("num_hidden_layers", std::nullopt, kMaxLayers);
  model.num_heads = config.PositiveInt("num_attention_heads");
  const bool has_default = defaults.num_kv_heads > 0 && !config.Contains("num_key_value_heads");
  model.num_kv_heads = config.PositiveInt("num_key_value_heads",
                                          has_default ? defaults.num_kv_heads : model.num_heads);
  // A missing size is reported before the sizes that are derived from it.
  if (!config.status().ok()) return;
  model.head_dim = config.PositiveInt(
      "head_dim", defaults.head_dim > 0 ? defaults.head_dim : model.hidden_size / model.num_heads);
  model.max_position_embeddings =
      config.PositiveInt("max_position_embeddings", defaults.max_position_embeddings);
  if (model.num_heads % model.num_kv_heads != 0) {
    config.Invalid("num_key_value_heads",
                   absl::StrCat("is ", model.num_kv_heads, "; it must divide num_attention_heads ",
                                model.num_heads));
  }
  if (model.head_dim % 2 != 0)
    config.Invalid("head_dim", absl::StrCat("is ", model.head_dim, "; it must be even"));
}

// The RoPE of every layer. transformers 5 writes rope_parameters with rope_theta inside; 4 writes
// rope_theta beside rope_scaling.
void ReadRope(ConfigReader& config, const ConfigDefaults& family, ModelConfig& model) {
  ConfigReader rope =
      config.Object(config.Has("rope_parameters") ? "rope_parameters" : "rope_scaling");
  RopeDefaults defaults{.theta = config.PositiveNumber("rope_theta", family.rope_theta),
                        .max_position_embeddings = model.max_position_embeddings,
                        .is_multimodal = family.has_multimodal_rope};
  if (config.Has("original_max_position_embeddings")) {
    defaults.original_max_position_embeddings =
        config.PositiveInt("original_max_position_embeddings");
  }
  model.block.layers.assign(static_cast<size_t>(model.num_layers),
                            LayerSpec{.rope = ReadRopeParameters(rope, defaults)});
}

// After the family has set rotary_dim.
void CheckRope(ConfigReader& config, const ModelConfig& model) {
  for (const LayerSpec& layer : model.block.layers) {
    if (!layer.rope || layer.rope->divisors.empty()) continue;
    const int64_t rotary_dim = layer.rope->rotary_dim > 0 ? layer.rope->rotary_dim : model.head_dim;
    const auto check = [&](const char* key, const std::vector<double>& factors) {
      const auto count = static_cast<int64_t>(factors.size());
      if (count == rotary_dim / 2) return;
      config.Invalid(key, absl::StrCat("has ", count, " numbers; the heads have ", rotary_dim / 2,
                                       " frequencies"));
    };
    check("short_factor", layer.rope->divisors);
    check("long_factor", layer.rope->long_divisors);
  }
}

Activation ReadActivation(ConfigReader& config, const ConfigDefaults& defaults) {
  const std::string name = config.Text(defaults.activation_key, defaults.activation);
  if (name == "silu") return Activation::kSilu;
  if (name == "gelu_pytorch_tanh" || (name == "gelu" && defaults.gelu_is_tanh))
    return Activation::kGeluTanh;
  config.Unsupported(absl::StrCat("activation \"", name,
                                  "\" is not supported; supported: silu, gelu_pytorch_tanh"));
  return Activation::kSilu;
}

// Also of families whose layers are all alike, as transformers does: after an edit, one of the two
// keys is wrong.
void CheckLayerTypes(ConfigReader& config, int64_t num_layers) {
  if (!config.Has("layer_types") || !config.status().ok()) return;
  const size_t count = config.TextList("layer_types", num_layers).size();
  if (count == static_cast<size_t>(num_layers)) return;
  config.Invalid("layer_types",
                 absl::StrCat("has ", count, " entries; num_hidden_layers is ", num_layers));
}

// Folders of weights that were quantized name it under one of these keys: bitsandbytes, GPTQ, AWQ,
// FP8 and others under the first, old compressed-tensors and MLX under the others.
void RefuseQuantized(ConfigReader& config) {
  for (const char* key : {"quantization_config", "compression_config", "quantization"}) {
    if (!config.Has(key)) continue;
    const std::string method = config.Object(key).Text("quant_method", "");
    return config.Unsupported(absl::StrCat(
        "the weights are quantized (", key, method.empty() ? "" : ": ", method,
        "), and trainerd trains full-precision weights; set model.path to the folder of the model "
        "that was quantized (bf16, fp16 or fp32)"));
  }
}

// What describes the language model.
void ReadTextModel(ConfigReader& config, const Family& family, ModelConfig& model) {
  ReadSizes(config, family.defaults, model);
  model.rms_norm_eps = config.PositiveNumber("rms_norm_eps", family.defaults.rms_norm_eps);
  model.initializer_range = config.PositiveNumber("initializer_range", 0.02);
  model.block.activation = ReadActivation(config, family.defaults);
  ReadRope(config, family.defaults, model);
  CheckLayerTypes(config, model.num_layers);
  family.read_block(config, model);
  CheckRope(config, model);
}

// The first entry of "architectures"; empty if there is none.
std::string Architecture(const Json& json) {
  if (!json.contains("architectures") || !json["architectures"].is_array() ||
      json["architectures"].empty() || !json["architectures"][0].is_string())
    return "";
  return json["architectures"][0].get<std::string>();
}

}  // namespace

absl::StatusOr<ModelConfig> ParseModelConfig(const std::string& text, const std::string& where) {
  ASSIGN_OR_RETURN(const Json json, AsJsonObject(ParseJson(text), where));
  absl::Status status;
  ConfigReader config(json, where, status);
  const std::string model_type = config.Text("model_type", ""), architecture = Architecture(json);
  RETURN_IF_ERROR(status);
  const Family* family = FindFamily(model_type);
  if (family == nullptr || (!architecture.empty() && architecture != family->architecture)) {
    return absl::UnimplementedError(
        absl::StrCat(where, ": model_type \"", model_type, "\" with architecture \"", architecture,
                     "\" is not supported; supported are causal language models of the types ",
                     SupportedFamilies()));
  }

  RefuseQuantized(config);
  RETURN_IF_ERROR(status);
  ModelConfig model;
  model.tie_word_embeddings =
      config.Bool("tie_word_embeddings", family->defaults.tie_word_embeddings);
  model.dtype = config.Text("dtype", config.Text("torch_dtype", "float32"));
  model.names = family->names;
  if (family->has_text_config && config.Has("text_config")) {
    ConfigReader text = config.Object("text_config");
    RefuseQuantized(text);
    ReadTextModel(text, *family, model);
  } else {
    ReadTextModel(config, *family, model);
  }
  RETURN_IF_ERROR(status);
  return model;
}

absl::StatusOr<ModelConfig> ReadModelConfig(const std::string& folder) {
  const std::string path = absl::StrCat(folder, "/config.json");
  absl::StatusOr<std::string> text = ReadFile(path);
  if (absl::IsNotFound(text.status())) {
    return absl::NotFoundError(
        absl::StrCat(path,
                     ": no such file; model.path must be a Hugging Face model folder with "
                     "config.json, model.safetensors and the tokenizer's files"));
  }
  RETURN_IF_ERROR(text.status());
  return ParseModelConfig(*text, path);
}

absl::StatusOr<std::string> UntiedModelConfig(const std::string& json) {
  ASSIGN_OR_RETURN(nlohmann::ordered_json config, ParseJsonWithSpelling(json));
  config["tie_word_embeddings"] = false;
  const auto text = config.find("text_config");
  if (text != config.end() && text->is_object() && text->contains("tie_word_embeddings"))
    (*text)["tie_word_embeddings"] = false;
  return WriteJsonWithSpelling(config) + "\n";
}

}  // namespace trainerd::engine
