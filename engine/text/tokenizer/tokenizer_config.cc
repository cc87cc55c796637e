// SPDX-License-Identifier: Apache-2.0
#include "engine/text/tokenizer/tokenizer_config.h"

#include <filesystem>
#include <string_view>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "proto/base/atomic_file.h"
#include "proto/base/status_macros.h"
#include "simdjson.h"

namespace trainerd::engine {
namespace {

bool FileExists(const std::string& path) {
  std::error_code error;
  return std::filesystem::exists(path, error);
}

absl::Status Malformed(const std::string& file, const std::string& path, const char* what) {
  return absl::InvalidArgumentError(absl::StrCat(file, " ", path, ": ", what));
}

// "eos_token": "</s>" or {"content": "</s>", …}.
std::optional<std::string> TokenName(const simdjson::dom::object& o, std::string_view key) {
  std::string_view name;
  if (o[key].get(name) == simdjson::SUCCESS) return std::string(name);
  if (o[key]["content"].get(name) == simdjson::SUCCESS) return std::string(name);
  return std::nullopt;
}

absl::Status ReadConfigTemplate(const simdjson::dom::object& o, const std::string& file,
                                TokenizerConfig* config) {
  simdjson::dom::element value;
  if (o["chat_template"].get(value) != simdjson::SUCCESS || value.is_null()) {
    return absl::OkStatus();
  }
  std::string_view text;
  if (value.get(text) == simdjson::SUCCESS) {
    config->chat_template = std::string(text);
    return absl::OkStatus();
  }
  simdjson::dom::array list;
  if (value.get(list) != simdjson::SUCCESS) {
    return Malformed(file, "$.chat_template", "expected a string or a list of {name, template}");
  }
  for (const auto item : list) {
    std::string_view name;
    if (item["name"].get(name) == simdjson::SUCCESS && name == "default" &&
        item["template"].get(text) == simdjson::SUCCESS) {
      config->chat_template = std::string(text);
    }
  }
  return absl::OkStatus();
}

absl::Status ReadConfigAddedTokens(const simdjson::dom::object& o, const std::string& file,
                                   TokenizerConfig* config) {
  simdjson::dom::object tokens;
  if (o["added_tokens_decoder"].get(tokens) != simdjson::SUCCESS) return absl::OkStatus();
  for (const auto [key, value] : tokens) {
    AddedToken token;
    std::string_view content;
    const std::string path = absl::StrCat("$.added_tokens_decoder[\"", std::string(key), "\"]");
    if (!absl::SimpleAtoi(absl::string_view(key.data(), key.size()), &token.id) || token.id < 0 ||
        token.id > (1 << 24) || value["content"].get(content) != simdjson::SUCCESS) {
      return Malformed(file, path, "expected a token id and \"content\"");
    }
    const auto flag = [&token_json = value](std::string_view name) {
      bool on;
      return token_json[name].get(on) == simdjson::SUCCESS && on;
    };
    token.content = std::string(content);
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
absl::Status ReadConfig(const std::string& json, const std::string& file, TokenizerConfig* config) {
  simdjson::dom::parser parser;
  simdjson::dom::object o;
  const auto error = parser.parse(json.data(), json.size()).get(o);
  if (error != simdjson::SUCCESS) {
    return Malformed(file, "$", simdjson::error_message(error));
  }
  if (!config->bos) config->bos = TokenName(o, "bos_token");
  if (!config->eos) config->eos = TokenName(o, "eos_token");
  if (!config->pad) config->pad = TokenName(o, "pad_token");
  if (!config->unk) config->unk = TokenName(o, "unk_token");
  RETURN_IF_ERROR(ReadConfigTemplate(o, file, config));
  return ReadConfigAddedTokens(o, file, config);
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
