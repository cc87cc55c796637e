// SPDX-License-Identifier: Apache-2.0
// The pre-tokenizers that GGUF files name in "tokenizer.ggml.pre", as tokenizer.json spells them.
// No LibTorch.
// Source: the published tokenizer.json of the models after which llama.cpp names them.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace trainerd::engine {

struct NamedPreTokenizer {
  std::string_view name;
  // Of a Split step; "": the expression of ByteLevel.
  std::string_view regex;
  // Digits are cut off one by one before.
  bool splits_digits = false;
  // The text is normalized to NFC.
  bool normalizes = false;
  // A word that is a token is not merged from characters.
  bool ignores_merges = false;
  // Whether a text begins with the BOS token, unless the file has "tokenizer.ggml.add_bos_token".
  bool adds_bos = false;
};

// nullptr for a name that is not supported.
const NamedPreTokenizer* FindPreTokenizer(std::string_view name);
// The supported names, "gpt-2, smollm, …".
std::string PreTokenizerNames();
// The one that cuts as the "pre_tokenizer" of `tokenizer`, the contents of a byte-level
// tokenizer.json, does; nullptr if there is none. "ignore_merges" decides between two.
const NamedPreTokenizer* PreTokenizerOf(const nlohmann::json& tokenizer);

// "normalizer" and "pre_tokenizer" of tokenizer.json.
nlohmann::ordered_json NormalizerJson(const NamedPreTokenizer& pre);
nlohmann::ordered_json PreTokenizerJson(const NamedPreTokenizer& pre);

}  // namespace trainerd::engine
