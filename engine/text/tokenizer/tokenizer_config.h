// SPDX-License-Identifier: Apache-2.0
// The tokenizer settings of a model folder beside tokenizer.json: tokenizer_config.json,
// special_tokens_map.json and chat_template.jinja.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/text/tokenizer/tokenizer.h"

namespace trainerd::engine {

struct TokenizerConfig {
  std::string json;  // content of tokenizer_config.json; "" without the file
  std::optional<std::string> bos, eos, pad, unk;
  std::string chat_template;             // "" = none
  std::vector<AddedToken> added_tokens;  // of added_tokens_decoder
};

// Reads those of the files that exist. special_tokens_map.json supplies names that
// tokenizer_config.json omits; chat_template.jinja takes precedence over "chat_template".
// Errors: InvalidArgument naming file and JSON path.
absl::StatusOr<TokenizerConfig> ReadTokenizerConfig(const std::string& folder);

}  // namespace trainerd::engine
