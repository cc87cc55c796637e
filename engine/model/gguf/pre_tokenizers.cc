// SPDX-License-Identifier: Apache-2.0
#include "engine/model/gguf/pre_tokenizers.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_join.h"

namespace trainerd::engine {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kGpt2 =
    R"('(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr std::string_view kGpt2Alternatives =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr std::string_view kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen35 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}|)"
    R"( ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kTekken =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|)"
    R"(\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kGpt4o =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)"
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"(\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// Where two cut alike, the first is written.
constexpr NamedPreTokenizer kPreTokenizers[] = {
    {.name = "gpt-2", .regex = ""},
    {.name = "smollm", .regex = "", .splits_digits = true},
    {.name = "refact", .regex = "", .splits_digits = true},
    {.name = "starcoder", .regex = "", .splits_digits = true},
    {.name = "llama-bpe", .regex = kLlama3, .ignores_merges = true, .adds_bos = true},
    {.name = "llama3", .regex = kLlama3, .ignores_merges = true, .adds_bos = true},
    {.name = "llama-v3", .regex = kLlama3, .ignores_merges = true, .adds_bos = true},
    {.name = "dbrx", .regex = kLlama3},
    {.name = "smaug-bpe", .regex = kLlama3},
    {.name = "qwen2", .regex = kQwen2, .normalizes = true},
    {.name = "qwen35", .regex = kQwen35, .normalizes = true},
    {.name = "tekken", .regex = kTekken, .ignores_merges = true, .adds_bos = true},
    {.name = "gpt-4o", .regex = kGpt4o},
};

std::string TextAt(const nlohmann::json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

bool BoolAt(const nlohmann::json& object, const char* key, bool fallback) {
  const auto found = object.find(key);
  return found != object.end() && found->is_boolean() ? found->get<bool>() : fallback;
}

// What the steps of a "pre_tokenizer" do; false for steps that no name stands for.
bool ReadSteps(const nlohmann::json& part, bool* splits_digits, std::string* regex) {
  if (!part.is_object()) return false;
  const std::string type = TextAt(part, "type");
  if (type == "Sequence") {
    const auto steps = part.find("pretokenizers");
    if (steps == part.end() || !steps->is_array()) return false;
    return std::all_of(steps->begin(), steps->end(), [&](const nlohmann::json& step) {
      return TextAt(step, "type") != "Sequence" && ReadSteps(step, splits_digits, regex);
    });
  }
  if (type == "Digits") {
    *splits_digits = true;
    return BoolAt(part, "individual_digits", false);
  }
  if (type == "Split") {
    const auto pattern = part.find("pattern");
    if (pattern == part.end() || !pattern->is_object() || !regex->empty()) return false;
    *regex = TextAt(*pattern, "Regex");
    return !regex->empty();
  }
  if (type != "ByteLevel" || BoolAt(part, "add_prefix_space", true)) return false;
  if (!BoolAt(part, "use_regex", true)) return !regex->empty();
  if (!regex->empty()) return false;
  *regex = kGpt2;
  return true;
}

}  // namespace

const NamedPreTokenizer* FindPreTokenizer(std::string_view name) {
  const auto* found = std::find_if(std::begin(kPreTokenizers), std::end(kPreTokenizers),
                                   [&](const NamedPreTokenizer& pre) { return pre.name == name; });
  return found == std::end(kPreTokenizers) ? nullptr : found;
}

std::string PreTokenizerNames() {
  return absl::StrJoin(kPreTokenizers, ", ", [](std::string* out, const NamedPreTokenizer& pre) {
    out->append(pre.name);
  });
}

const NamedPreTokenizer* PreTokenizerOf(const nlohmann::json& tokenizer) {
  const auto part = tokenizer.find("pre_tokenizer");
  bool splits_digits = false;
  std::string regex;
  if (part == tokenizer.end() || !ReadSteps(*part, &splits_digits, &regex)) return nullptr;
  if (regex == kGpt2 || regex == kGpt2Alternatives) regex.clear();
  const auto model = tokenizer.find("model");
  const bool ignores_merges =
      model != tokenizer.end() && model->is_object() && BoolAt(*model, "ignore_merges", false);
  const NamedPreTokenizer* nearest = nullptr;
  for (const NamedPreTokenizer& pre : kPreTokenizers) {
    if (pre.regex != regex || pre.splits_digits != splits_digits) continue;
    if (pre.ignores_merges == ignores_merges) return &pre;
    if (nearest == nullptr) nearest = &pre;
  }
  return nearest;
}

Json NormalizerJson(const NamedPreTokenizer& pre) {
  return pre.normalizes ? Json{{"type", "NFC"}} : Json(nullptr);
}

Json PreTokenizerJson(const NamedPreTokenizer& pre) {
  const bool split = !pre.regex.empty();
  const Json bytes = {{"type", "ByteLevel"},
                      {"add_prefix_space", false},
                      {"trim_offsets", true},
                      {"use_regex", !split}};
  Json steps = Json::array();
  if (pre.splits_digits) steps.push_back({{"type", "Digits"}, {"individual_digits", true}});
  if (split) {
    steps.push_back({{"type", "Split"},
                     {"pattern", {{"Regex", std::string(pre.regex)}}},
                     {"behavior", "Isolated"},
                     {"invert", false}});
  }
  if (steps.empty()) return bytes;
  steps.push_back(bytes);
  return {{"type", "Sequence"}, {"pretokenizers", steps}};
}

}  // namespace trainerd::engine
