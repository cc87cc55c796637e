// SPDX-License-Identifier: Apache-2.0
#include "engine/model/model_config.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "engine/model/families/families.h"
#include "proto/base/atomic_file.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

using Json = nlohmann::json;

// Reads typed values out of one JSON object; the first fault is kept and every later read returns
// its default.
class Fields {
 public:
  Fields(const Json& object, std::string where) : object_(object), where_(std::move(where)) {}

  // A key is present when it is there and not null.
  bool Has(const char* key) const { return object_.contains(key) && !object_[key].is_null(); }
  const Json& operator[](const char* key) const { return object_[key]; }

  int64_t PositiveInt(const char* key, std::optional<int64_t> fallback = std::nullopt) {
    constexpr int64_t kMost = int64_t{1} << 31;
    if (!Has(key)) return fallback ? *fallback : (Fault(key, "is missing"), 1);
    const Json& value = object_[key];
    if (!value.is_number_integer() || value.get<double>() < 1 || value.get<double>() > kMost) {
      Fault(key, absl::StrCat("is ", value.dump(), ", must be a whole number from 1 to ", kMost));
      return 1;
    }
    return value.get<int64_t>();
  }
  double PositiveNumber(const char* key, std::optional<double> fallback = std::nullopt) {
    if (!Has(key)) return fallback ? *fallback : (Fault(key, "is missing"), 1.0);
    const Json& value = object_[key];
    if (!value.is_number() || !(value.get<double>() > 0) || !std::isfinite(value.get<double>())) {
      Fault(key, absl::StrCat("is ", value.dump(), ", must be a number above 0"));
      return 1.0;
    }
    return value.get<double>();
  }
  bool Bool(const char* key, bool fallback) {
    if (!Has(key)) return fallback;
    if (!object_[key].is_boolean()) {
      Fault(key, absl::StrCat("is ", object_[key].dump(), ", must be true or false"));
      return fallback;
    }
    return object_[key].get<bool>();
  }
  std::string String(const char* key, const std::string& fallback) {
    if (!Has(key)) return fallback;
    if (!object_[key].is_string()) {
      Fault(key, absl::StrCat("is ", object_[key].dump(), ", must be a text"));
      return fallback;
    }
    return object_[key].get<std::string>();
  }

  void Fault(const char* key, const std::string& what) {
    if (status_.ok())
      status_ = absl::InvalidArgumentError(absl::StrCat(where_, ": \"", key, "\" ", what));
  }
  const absl::Status& status() const { return status_; }

 private:
  const Json& object_;
  std::string where_;
  absl::Status status_;
};

absl::StatusOr<const Family*> FamilyOf(const Json& json, const std::string& where) {
  std::string architecture;
  if (json.contains("architectures") && json["architectures"].is_array() &&
      !json["architectures"].empty() && json["architectures"][0].is_string()) {
    architecture = json["architectures"][0].get<std::string>();
  }
  const std::string model_type = json.value("model_type", "");
  const Family* family = FindFamily(model_type);
  const bool other_head =
      family != nullptr && !architecture.empty() && architecture != family->architecture;
  if (family == nullptr || other_head) {
    return absl::UnimplementedError(
        absl::StrCat(where, ": model_type \"", model_type, "\" with architecture \"", architecture,
                     "\" is not supported; supported model types: ", SupportedFamilies(),
                     " (causal language models)"));
  }
  return family;
}

// transformers 5 writes rope_parameters with rope_theta inside, 4 rope_theta beside rope_scaling
// (with "type" in old files).
absl::Status ReadRope(const Json& json, const std::string& where, ModelConfig& config) {
  const char* key = json.contains("rope_parameters") && !json["rope_parameters"].is_null()
                        ? "rope_parameters"
                        : "rope_scaling";
  const bool has_object = json.contains(key) && !json[key].is_null();
  if (has_object && !json[key].is_object())
    return absl::InvalidArgumentError(absl::StrCat(where, ": \"", key, "\" must be an object"));
  const Json empty = Json::object();
  Fields rope(has_object ? json[key] : empty, absl::StrCat(where, ": ", key));
  Fields top(json, where);
  config.rope_theta = rope.PositiveNumber("rope_theta", top.PositiveNumber("rope_theta", 10000.0));
  const std::string type = rope.String("rope_type", rope.String("type", "default"));
  if (type == "linear") {
    config.rope_factor = rope.PositiveNumber("factor");
  } else if (type == "llama3") {
    Llama3RopeScaling scaling;
    scaling.factor = rope.PositiveNumber("factor");
    scaling.low_freq_factor = rope.PositiveNumber("low_freq_factor");
    scaling.high_freq_factor = rope.PositiveNumber("high_freq_factor");
    scaling.original_max_position_embeddings = rope.PositiveInt("original_max_position_embeddings");
    if (scaling.high_freq_factor <= scaling.low_freq_factor)
      rope.Fault("high_freq_factor", "must be above low_freq_factor");
    config.llama3_rope = scaling;
  } else if (type != "default") {
    return absl::UnimplementedError(
        absl::StrCat(where, ": RoPE scaling \"", type,
                     "\" is not supported; supported: default, linear, llama3"));
  }
  RETURN_IF_ERROR(rope.status());
  return top.status();
}

absl::Status ReadSlidingWindow(const Json& json, const Family& family, const std::string& where,
                               ModelConfig& config) {
  Fields fields(json, where);
  const bool on = family.sliding_needs_switch ? fields.Bool("use_sliding_window", false)
                                              : fields.Has("sliding_window");
  if (!on || !fields.Has("sliding_window")) return fields.status();
  config.sliding_window = fields.PositiveInt("sliding_window");
  config.sliding_layers.assign(config.num_layers, true);
  if (fields.Has("layer_types")) {
    const Json& types = fields["layer_types"];
    if (!types.is_array() || static_cast<int64_t>(types.size()) != config.num_layers) {
      fields.Fault("layer_types", "must name every layer");
      return fields.status();
    }
    for (int64_t i = 0; i < config.num_layers; ++i) {
      if (types[i] != "sliding_attention" && types[i] != "full_attention") {
        return absl::UnimplementedError(
            absl::StrCat(where, ": layer type ", types[i].dump(),
                         " is not supported; supported: full_attention, sliding_attention"));
      }
      config.sliding_layers[i] = types[i] == "sliding_attention";
    }
  } else if (fields.Has("max_window_layers")) {
    // The first max_window_layers layers see everything; 0 is allowed.
    const Json& first = fields["max_window_layers"];
    if (!first.is_number_unsigned())
      fields.Fault("max_window_layers", "must be a whole number from 0");
    for (int64_t i = 0; fields.status().ok() && i < config.num_layers; ++i)
      config.sliding_layers[i] = i >= first.get<int64_t>();
  }
  return fields.status();
}

}  // namespace

absl::StatusOr<ModelConfig> ParseModelConfig(const std::string& text, const std::string& where) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object())
    return absl::InvalidArgumentError(absl::StrCat(where, ": not a JSON object"));
  if (json.contains("model_type") && !json["model_type"].is_string()) {
    return absl::InvalidArgumentError(absl::StrCat(where, ": \"model_type\" must be a text"));
  }
  ASSIGN_OR_RETURN(const Family* family, FamilyOf(json, where));

  Fields fields(json, where);
  ModelConfig c;
  c.model_type = std::string(family->model_type);
  c.vocab_size = fields.PositiveInt("vocab_size");
  c.hidden_size = fields.PositiveInt("hidden_size");
  c.intermediate_size = fields.PositiveInt("intermediate_size");
  c.num_layers = fields.PositiveInt("num_hidden_layers");
  c.num_heads = fields.PositiveInt("num_attention_heads");
  c.num_kv_heads = fields.PositiveInt("num_key_value_heads", c.num_heads);
  RETURN_IF_ERROR(fields.status());
  c.head_dim =
      fields.PositiveInt("head_dim", family->default_head_dim > 0 ? family->default_head_dim
                                                                  : c.hidden_size / c.num_heads);
  c.max_position_embeddings = fields.PositiveInt("max_position_embeddings", 2048);
  c.rms_norm_eps = fields.PositiveNumber("rms_norm_eps", 1e-6);
  c.initializer_range = fields.PositiveNumber("initializer_range", 0.02);
  c.tie_word_embeddings = fields.Bool("tie_word_embeddings", false);
  c.qk_norm = family->qk_norm;
  c.qkv_bias = family->qkv_bias_by_default;
  if (family->attention_bias_is_a_key)
    c.qkv_bias = c.output_bias = fields.Bool("attention_bias", family->qkv_bias_by_default);
  if (c.model_type == "llama") c.mlp_bias = fields.Bool("mlp_bias", false);
  c.dtype = fields.String("dtype", fields.String("torch_dtype", "float32"));

  const std::string activation = fields.String("hidden_act", "silu");
  if (activation != "silu") {
    return absl::UnimplementedError(
        absl::StrCat(where, ": activation \"", activation, "\" is not supported; supported: silu"));
  }
  if (c.num_heads % c.num_kv_heads != 0) {
    fields.Fault(
        "num_key_value_heads",
        absl::StrCat("is ", c.num_kv_heads, ", must divide num_attention_heads ", c.num_heads));
  }
  if (c.head_dim % 2 != 0)
    fields.Fault("head_dim", absl::StrCat("is ", c.head_dim, ", must be even"));
  RETURN_IF_ERROR(fields.status());
  RETURN_IF_ERROR(ReadRope(json, where, c));
  RETURN_IF_ERROR(ReadSlidingWindow(json, *family, where, c));
  return c;
}

absl::StatusOr<ModelConfig> ReadModelConfig(const std::string& folder) {
  const std::string path = absl::StrCat(folder, "/config.json");
  absl::StatusOr<std::string> text = ReadFile(path);
  if (!text.ok()) {
    if (absl::IsNotFound(text.status())) {
      return absl::NotFoundError(
          absl::StrCat(path,
                       ": no such file; model.path must be a Hugging Face model folder with "
                       "config.json, model.safetensors and the tokenizer's files"));
    }
    return text.status();
  }
  return ParseModelConfig(*text, path);
}

}  // namespace trainerd::engine
