// SPDX-License-Identifier: Apache-2.0
// The tokenizer settings of a model folder beside tokenizer.json, with the precedence that
// transformers gives them (tokenization_utils_base.py, _from_pretrained).
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/text/tokenizer/tokenizer.h"

namespace trainerd::engine {

struct TokenizerConfig {
  // Special tokens by the name of their key ("eos_token"), in the order in which the reference adds
  // those that tokenizer.json lacks: bos, eos, unk, sep, pad, cls, mask, further keys that end in
  // "_token", the keys of extra_special_tokens.
  std::vector<std::pair<std::string, AddedToken>> named_tokens;
  // extra_special_tokens (or additional_special_tokens) as a list.
  std::vector<AddedToken> extra_tokens;
  // added_tokens_decoder, else added_tokens.json; ordered by id.
  std::vector<AddedToken> added_tokens;
  bool has_decoder = false;  // tokenizer_config.json has added_tokens_decoder
  std::vector<NamedTemplate> chat_templates;
};

// Reads those of the files that exist:
//   tokenizer_config.json
//   special_tokens_map.json  wins over it; not read where added_tokens_decoder is given
//   added_tokens.json        not read where added_tokens_decoder is given
//   chat_template.jinja and additional_chat_templates/NAME.jinja
//                            replace "chat_template" of tokenizer_config.json if one of them exists
//   chat_template.json       that of the processor, if none of the above has a template
// Errors: InvalidArgument naming file and JSON path.
absl::StatusOr<TokenizerConfig> ReadTokenizerConfig(const std::string& folder);

}  // namespace trainerd::engine
