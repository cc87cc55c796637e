// SPDX-License-Identifier: Apache-2.0
#include "engine/text/tokenizer/tokenizer_config.h"

#include <algorithm>
#include <filesystem>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "engine/formats/json.h"
#include "proto/base/atomic_file.h"
#include "proto/base/directory.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kStandardNames[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                          "pad_token", "cls_token", "mask_token"};
constexpr char kExtraTokens[] = "extra_special_tokens";
constexpr char kAdditionalTokens[] = "additional_special_tokens";
constexpr char kTemplateFile[] = "chat_template.jinja";
constexpr char kProcessorTemplateFile[] = "chat_template.json";
constexpr char kTemplateFolder[] = "additional_chat_templates";

absl::Status Malformed(const std::string& file, const std::string& path, const char* what) {
  return absl::InvalidArgumentError(absl::StrCat(file, " ", path, ": ", what));
}

// The text of `object[key]`; null if there is none.
const std::string* TextAt(const Json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(key);
  return found == object.end() ? nullptr : found->get_ptr<const std::string*>();
}

// The value of a key; null if it is missing or null.
const Json* ValueAt(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

// "</s>" or {"content": "</s>", "lstrip": …}. `special` is what the reference takes where the flag
// is missing; nullopt: another value.
std::optional<AddedToken> ReadToken(const Json& value, bool special) {
  AddedToken token;
  token.special = special;
  if (const std::string* content = value.get_ptr<const std::string*>()) {
    token.content = *content;
    return token;
  }
  const std::string* content = TextAt(value, "content");
  if (content == nullptr) return std::nullopt;
  const auto flag = [&](const char* name, bool otherwise) {
    const auto found = value.find(name);
    return found != value.end() && found->is_boolean() ? found->get<bool>() : otherwise;
  };
  token.content = *content;
  token.special = flag("special", special);
  token.normalized = flag("normalized", !token.special);
  token.lstrip = flag("lstrip", false);
  token.rstrip = flag("rstrip", false);
  token.single_word = flag("single_word", false);
  return token;
}

absl::StatusOr<Json> ReadObject(const std::string& text, const std::string& file) {
  absl::StatusOr<Json> json = ParseOrderedJson(text);
  if (!json.ok()) return Annotate(json.status(), file);
  if (!json->is_object()) return Malformed(file, "$", "expected an object");
  return json;
}

absl::Status ReadConfigTemplates(const Json& json, const std::string& file,
                                 TokenizerConfig* config) {
  const Json* value = ValueAt(json, "chat_template");
  if (value == nullptr) return absl::OkStatus();
  if (const std::string* source = value->get_ptr<const std::string*>()) {
    config->chat_templates.push_back({"default", *source});
    return absl::OkStatus();
  }
  if (!value->is_array()) {
    return Malformed(file, "$.chat_template", "expected a string or a list of {name, template}");
  }
  for (const Json& item : *value) {
    const std::string *name = TextAt(item, "name"), *source = TextAt(item, "template");
    if (name == nullptr || source == nullptr) {
      return Malformed(file, "$.chat_template", "expected a list of {name, template}");
    }
    config->chat_templates.push_back({*name, *source});
  }
  return absl::OkStatus();
}

absl::Status ReadDecoder(const Json& decoder, const std::string& file, TokenizerConfig* config) {
  config->has_decoder = true;
  for (const auto& [key, value] : decoder.items()) {
    const std::string path = absl::StrCat("$.added_tokens_decoder[\"", key, "\"]");
    std::optional<AddedToken> token = ReadToken(value, /*special=*/false);
    if (!token.has_value() || value.is_string() || !absl::SimpleAtoi(key, &token->id) ||
        token->id < 0) {
      return Malformed(file, path, "expected a token id and \"content\"");
    }
    config->added_tokens.push_back(*std::move(token));
  }
  std::stable_sort(config->added_tokens.begin(), config->added_tokens.end(),
                   [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
  return absl::OkStatus();
}

// What the special tokens are read from: tokenizer_config.json with special_tokens_map.json over
// it.
Json MergedTokens(Json config, const Json& map) {
  if (!map.is_object()) return config;
  for (const auto& [key, value] : map.items()) {
    Json* known =
        key == kExtraTokens && value.is_array() && config.contains(key) ? &config[key] : nullptr;
    if (known == nullptr || !known->is_array()) {
      config[key] = value;
      continue;
    }
    for (const Json& token : value) {
      if (std::find(known->begin(), known->end(), token) == known->end()) known->push_back(token);
    }
  }
  return config;
}

void AddNamed(const std::string& name, const Json& value, TokenizerConfig* config) {
  std::optional<AddedToken> token = ReadToken(value, /*special=*/true);
  if (!token.has_value()) return;
  token->special = true;
  config->named_tokens.emplace_back(name, *std::move(token));
}

void ReadSpecialTokens(const Json& tokens, TokenizerConfig* config) {
  for (const char* name : kStandardNames) {
    if (const Json* value = ValueAt(tokens, name)) AddNamed(name, *value, config);
  }
  for (const auto& [key, value] : tokens.items()) {
    const bool standard = std::find(std::begin(kStandardNames), std::end(kStandardNames), key) !=
                          std::end(kStandardNames);
    if (!standard && absl::EndsWith(key, "_token")) AddNamed(key, value, config);
  }
  const Json* extra = ValueAt(tokens, kExtraTokens);
  if (extra == nullptr || extra->empty()) extra = ValueAt(tokens, kAdditionalTokens);
  if (extra == nullptr) return;
  if (extra->is_object()) {
    for (const auto& [key, value] : extra->items()) AddNamed(key, value, config);
    return;
  }
  if (!extra->is_array()) return;
  for (const Json& value : *extra) {
    std::optional<AddedToken> token = ReadToken(value, /*special=*/true);
    if (token.has_value()) config->extra_tokens.push_back(*std::move(token));
  }
}

// {"<tok>": 503, …}. A token that has a name, or is an extra one, is special.
absl::Status ReadAddedTokensFile(const std::string& path, TokenizerConfig* config) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  ASSIGN_OR_RETURN(const Json json, ReadObject(text, path));
  for (const auto& [content, id] : json.items()) {
    if (!id.is_number_integer()) {
      return Malformed(path, absl::StrCat("$[\"", content, "\"]"), "expected a token id");
    }
    AddedToken token{.id = id.get<int32_t>(), .content = content};
    for (const auto& [name, named] : config->named_tokens)
      token.special |= named.content == content;
    for (const AddedToken& extra : config->extra_tokens) token.special |= extra.content == content;
    token.normalized = !token.special;
    config->added_tokens.push_back(std::move(token));
  }
  std::stable_sort(config->added_tokens.begin(), config->added_tokens.end(),
                   [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
  return absl::OkStatus();
}

absl::Status ReadTemplateFiles(const std::string& folder, TokenizerConfig* config) {
  std::vector<NamedTemplate> templates;
  if (const std::string path = absl::StrCat(folder, "/", kTemplateFile); PathExists(path)) {
    ASSIGN_OR_RETURN(std::string source, ReadFile(path));
    templates.push_back({"default", std::move(source)});
  }
  std::vector<std::string> names;
  std::error_code error;
  for (std::filesystem::directory_iterator it(absl::StrCat(folder, "/", kTemplateFolder), error),
       end;
       !error && it != end; it.increment(error)) {
    absl::string_view name = it->path().filename().native();
    if (absl::ConsumeSuffix(&name, ".jinja")) names.emplace_back(name);
  }
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    ASSIGN_OR_RETURN(std::string source,
                     ReadFile(absl::StrCat(folder, "/", kTemplateFolder, "/", name, ".jinja")));
    // A file "default.jinja" there wins over chat_template.jinja.
    if (name == "default") templates.clear();
    templates.push_back({name, std::move(source)});
  }
  if (!templates.empty()) config->chat_templates = std::move(templates);
  const std::string path = absl::StrCat(folder, "/", kProcessorTemplateFile);
  if (!config->chat_templates.empty() || !PathExists(path)) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  ASSIGN_OR_RETURN(const Json json, ReadObject(text, path));
  return ReadConfigTemplates(json, path, config);
}

}  // namespace

absl::StatusOr<TokenizerConfig> ReadTokenizerConfig(const std::string& folder) {
  TokenizerConfig config;
  Json json = Json::object();
  if (const std::string path = folder + "/tokenizer_config.json"; PathExists(path)) {
    ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
    ASSIGN_OR_RETURN(json, ReadObject(text, path));
    RETURN_IF_ERROR(ReadConfigTemplates(json, path, &config));
    const Json* decoder = ValueAt(json, "added_tokens_decoder");
    if (decoder != nullptr && decoder->is_object()) {
      RETURN_IF_ERROR(ReadDecoder(*decoder, path, &config));
    }
  }
  Json map;
  if (const std::string path = folder + "/special_tokens_map.json";
      !config.has_decoder && PathExists(path)) {
    ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
    ASSIGN_OR_RETURN(map, ReadObject(text, path));
  }
  ReadSpecialTokens(MergedTokens(std::move(json), map), &config);
  if (const std::string path = folder + "/added_tokens.json";
      !config.has_decoder && PathExists(path)) {
    RETURN_IF_ERROR(ReadAddedTokensFile(path, &config));
  }
  RETURN_IF_ERROR(ReadTemplateFiles(folder, &config));
  return config;
}

}  // namespace trainerd::engine
