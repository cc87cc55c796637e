// SPDX-License-Identifier: Apache-2.0
#include "engine/model/adapter/peft_config.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <string_view>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "engine/formats/json.h"
#include "engine/model/config/config_reader.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

using Json = nlohmann::json;

constexpr int64_t kMaxRank = 4096;
// LoraConfig's defaults.
constexpr int64_t kDefaultRank = 8;
constexpr double kDefaultAlpha = 8.0;

// Keys that are read.
constexpr std::string_view kReadKeys[] = {"r",
                                          "lora_alpha",
                                          "use_rslora",
                                          "target_modules",
                                          "exclude_modules",
                                          "peft_type",
                                          "task_type",
                                          "bias",
                                          "init_lora_weights",
                                          "layers_to_transform",
                                          "layers_pattern",
                                          "base_model_name_or_path"};
// Keys without effect on a trained adapter.
constexpr std::string_view kOtherKeys[] = {
    "lora_dropout",  "inference_mode",    "revision",   "auto_mapping", "peft_version",
    "megatron_core", "qalora_group_size", "eva_config", "loftq_config", "runtime_config"};

bool IsKnown(const std::string& key) {
  const auto has = [&](const auto& keys) {
    return std::find(std::begin(keys), std::end(keys), key) != std::end(keys);
  };
  return has(kReadKeys) || has(kOtherKeys);
}

// Whether the value is that of a feature that is not used.
bool IsUnset(const Json& value) {
  return value.is_null() || value == Json(false) ||
         ((value.is_object() || value.is_array() || value.is_string()) && value.empty()) ||
         (value.is_string() && value.get<std::string>().empty());
}

// What to do about a key that is not supported.
std::string Advice(const std::string& key) {
  if (key == "rank_pattern" || key == "alpha_pattern")
    return "; trainerd trains all layers of an adapter with one rank and one alpha";
  if (key == "modules_to_save" || key == "trainable_token_indices") {
    return "; trainerd trains the adapter alone, so merge it into its model (merge_and_unload of "
           "peft) and start a new adapter on that model";
  }
  return "; merge the adapter into its model (merge_and_unload of peft) and start a new adapter on "
         "that model";
}

void CheckUnsupported(const Json& json, ConfigReader& config) {
  for (const auto& [key, value] : json.items()) {
    if (IsKnown(key) || IsUnset(value)) continue;
    return config.Unsupported(
        absl::StrCat("\"", key, "\": ", ShownJson(value), " is not supported", Advice(key)));
  }
  if (const std::string bias = config.Text("bias", "none"); bias != "none") {
    config.Unsupported(absl::StrCat("\"bias\": \"", bias,
                                    "\" is not supported; only adapters with "
                                    "\"bias\": \"none\" are"));
  }
  const std::string task = config.Text("task_type", "CAUSAL_LM");
  if (task != "CAUSAL_LM") {
    config.Unsupported(
        absl::StrCat("\"task_type\": \"", task, "\" is not supported; only CAUSAL_LM is"));
  }
  // Other ways of initialization change the weights of the model too.
  if (!config.Has("init_lora_weights") || json["init_lora_weights"].is_boolean()) return;
  const std::string init = config.Text("init_lora_weights", "");
  if (init == "gaussian" || init == "eva" || init == "orthogonal") return;
  config.Unsupported(absl::StrCat(
      "\"init_lora_weights\": \"", init,
      "\" is not supported, because it changes the weights of the model; save the adapter with "
      "path_initial_model_for_weight_conversion of peft, which makes it a plain one"));
}

void ReadTargets(const Json& json, ConfigReader& config, PeftConfig& peft) {
  if (!config.Has("target_modules")) return config.Invalid("target_modules", "is missing");
  if (!json["target_modules"].is_string()) {
    peft.target_modules = config.TextList("target_modules", 1);
  } else {
    const std::string text = json["target_modules"].get<std::string>();
    peft.choice = absl::AsciiStrToLower(text) == "all-linear" ? PeftConfig::Choice::kAllLinear
                                                              : PeftConfig::Choice::kTensors;
  }
  if (config.Has("exclude_modules")) {
    if (json["exclude_modules"].is_string()) {
      if (!json["exclude_modules"].get<std::string>().empty())
        peft.choice = PeftConfig::Choice::kTensors;
    } else {
      peft.excluded_modules = config.TextList("exclude_modules", 0);
    }
  }
}

// PEFT's pattern is the name of the list of layers, here always "layers".
void ReadLayers(const Json& json, ConfigReader& config, PeftConfig& peft) {
  if (config.Has("layers_pattern") && !IsUnset(json["layers_pattern"])) {
    const Json& pattern = json["layers_pattern"];
    const bool names_layers = pattern == Json("layers") ||
                              (pattern.is_array() && std::find(pattern.begin(), pattern.end(),
                                                               "layers") != pattern.end());
    if (!names_layers) {
      return config.Unsupported(absl::StrCat("\"layers_pattern\": ", ShownJson(pattern),
                                             " is not supported; only \"layers\" is"));
    }
  }
  if (!config.Has("layers_to_transform")) return;
  const Json& layers = json["layers_to_transform"];
  if (layers.is_number_integer()) {
    peft.layers = std::vector<int64_t>{layers.get<int64_t>()};
  } else if (!layers.empty()) {
    peft.layers = config.IntList("layers_to_transform", static_cast<int64_t>(layers.size()));
  }
}

}  // namespace

absl::StatusOr<PeftConfig> ParsePeftConfig(const std::string& text, const std::string& where) {
  ASSIGN_OR_RETURN(const Json json, AsJsonObject(ParseJson(text), where));
  absl::Status status;
  ConfigReader config(json, where, status);
  const std::string type = config.Text("peft_type", "");
  RETURN_IF_ERROR(status);
  if (type != "LORA") {
    return absl::UnimplementedError(
        absl::StrCat(where, ": \"peft_type\": \"", type, "\" is not supported; only LORA is"));
  }
  CheckUnsupported(json, config);
  PeftConfig peft;
  peft.rank = config.PositiveInt("r", kDefaultRank, kMaxRank);
  peft.alpha = config.PositiveNumber("lora_alpha", kDefaultAlpha);
  peft.rslora = config.Bool("use_rslora", false);
  peft.base_model = config.Text("base_model_name_or_path", "");
  ReadTargets(json, config, peft);
  ReadLayers(json, config, peft);
  RETURN_IF_ERROR(status);
  return peft;
}

bool Chooses(const PeftConfig& config, const AdapterTarget& target) {
  const auto names = [&](const std::string& name) { return NamesModule(name, target.module); };
  if (std::any_of(config.excluded_modules.begin(), config.excluded_modules.end(), names))
    return false;
  if (config.choice == PeftConfig::Choice::kAllLinear) return IsInBlock(target);
  const std::vector<std::string>& list = config.target_modules;
  if (std::find(list.begin(), list.end(), target.module) != list.end()) return true;
  if (config.layers.has_value() &&
      std::find(config.layers->begin(), config.layers->end(), target.layer) == config.layers->end())
    return false;
  return std::any_of(list.begin(), list.end(), names);
}

std::string PeftConfigJson(const AdapterSpec& adapter, const std::string& base_model) {
  using Ordered = nlohmann::ordered_json;
  Ordered alpha = adapter.alpha;
  // PEFT writes a whole number as such.
  if (adapter.alpha == std::floor(adapter.alpha)) alpha = static_cast<int64_t>(adapter.alpha);
  const Ordered json = {{"alpha_pattern", Ordered::object()},
                        {"auto_mapping", nullptr},
                        {"base_model_name_or_path", base_model},
                        {"bias", "none"},
                        {"fan_in_fan_out", false},
                        {"inference_mode", true},
                        {"init_lora_weights", true},
                        {"layers_pattern", nullptr},
                        {"layers_to_transform", nullptr},
                        {"lora_alpha", alpha},
                        {"lora_dropout", adapter.dropout},
                        {"modules_to_save", nullptr},
                        {"peft_type", "LORA"},
                        {"r", adapter.rank},
                        {"rank_pattern", Ordered::object()},
                        {"revision", nullptr},
                        {"target_modules", adapter.target_modules},
                        {"task_type", "CAUSAL_LM"},
                        {"use_dora", false},
                        {"use_rslora", adapter.rslora}};
  // A path that is not UTF-8 must not throw.
  return json.dump(2, ' ', /*ensure_ascii=*/false, Ordered::error_handler_t::replace) + "\n";
}

}  // namespace trainerd::engine
