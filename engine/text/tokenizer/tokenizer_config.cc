// SPDX-License-Identifier: Apache-2.0
#include "engine/text/tokenizer/tokenizer_config.h"

#include <filesystem>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "engine/formats/json.h"
#include "proto/base/atomic_file.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

using Json = nlohmann::ordered_json;

bool FileExists(const std::string& path) {
  std::error_code error;
  return std::filesystem::exists(path, error);
}

absl::Status Malformed(const std::string& file, const std::string& path, const char* what) {
  return absl::InvalidArgumentError(absl::StrCat(file, " ", path, ": ", what));
}

// The text of `object[key]`; null if there is none.
const std::string* TextAt(const Json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(key);
  return found == object.end() ? nullptr : found->get_ptr<const std::string*>();
}

// "eos_token": "</s>" or {"content": "</s>", …}.
std::optional<std::string> TokenName(const Json& config, const char* key) {
  const auto found = config.find(key);
  if (found == config.end()) return std::nullopt;
  const std::string* name = TextAt(config, key);
  if (name == nullptr) name = TextAt(*found, "content");
  return name == nullptr ? std::nullopt : std::optional<std::string>(*name);
}

absl::Status ReadConfigTemplate(const Json& json, const std::string& file,
                                TokenizerConfig* config) {
  const auto value = json.find("chat_template");
  if (value == json.end() || value->is_null()) return absl::OkStatus();
  if (value->is_string()) {
    config->chat_template = value->get<std::string>();
    return absl::OkStatus();
  }
  if (!value->is_array()) {
    return Malformed(file, "$.chat_template", "expected a string or a list of {name, template}");
  }
  for (const Json& item : *value) {
    const std::string *name = TextAt(item, "name"), *source = TextAt(item, "template");
    if (name != nullptr && *name == "default" && source != nullptr) config->chat_template = *source;
  }
  return absl::OkStatus();
}

absl::Status ReadConfigAddedTokens(const Json& json, const std::string& file,
                                   TokenizerConfig* config) {
  const auto tokens = json.find("added_tokens_decoder");
  if (tokens == json.end() || !tokens->is_object()) return absl::OkStatus();
  for (const auto& [key, value] : tokens->items()) {
    AddedToken token;
    const std::string path = absl::StrCat("$.added_tokens_decoder[\"", key, "\"]");
    const std::string* content = TextAt(value, "content");
    if (!absl::SimpleAtoi(key, &token.id) || token.id < 0 || token.id > (1 << 24) ||
        content == nullptr) {
      return Malformed(file, path, "expected a token id and \"content\"");
    }
    const auto flag = [&token_json = value](const char* name) {
      const auto found = token_json.find(name);
      return found != token_json.end() && *found == true;
    };
    token.content = *content;
    token.special = flag("special");
    token.normalized = flag("normalized");
    token.lstrip = flag("lstrip");
    token.rstrip = flag("rstrip");
    token.single_word = flag("single_word");
    config->added_tokens.push_back(std::move(token));
  }
  return absl::OkStatus();
}

// Fills what `config` does not have yet.
absl::Status ReadConfig(const std::string& text, const std::string& file, TokenizerConfig* config) {
  const absl::StatusOr<Json> json = ParseOrderedJson(text);
  if (!json.ok()) return Annotate(json.status(), file);
  if (!json->is_object()) return Malformed(file, "$", "expected an object");
  if (!config->bos) config->bos = TokenName(*json, "bos_token");
  if (!config->eos) config->eos = TokenName(*json, "eos_token");
  if (!config->pad) config->pad = TokenName(*json, "pad_token");
  if (!config->unk) config->unk = TokenName(*json, "unk_token");
  RETURN_IF_ERROR(ReadConfigTemplate(*json, file, config));
  return ReadConfigAddedTokens(*json, file, config);
}

}  // namespace

absl::StatusOr<TokenizerConfig> ReadTokenizerConfig(const std::string& folder) {
  TokenizerConfig config;
  if (const std::string path = folder + "/tokenizer_config.json"; FileExists(path)) {
    ASSIGN_OR_RETURN(config.json, ReadFile(path));
    RETURN_IF_ERROR(ReadConfig(config.json, path, &config));
  }
  if (const std::string path = folder + "/special_tokens_map.json"; FileExists(path)) {
    ASSIGN_OR_RETURN(const std::string json, ReadFile(path));
    RETURN_IF_ERROR(ReadConfig(json, path, &config));
  }
  if (const std::string path = folder + "/chat_template.jinja"; FileExists(path)) {
    ASSIGN_OR_RETURN(config.chat_template, ReadFile(path));
  }
  return config;
}

}  // namespace trainerd::engine
