// SPDX-License-Identifier: Apache-2.0
#include "engine/model/gguf/export_tokenizer.h"

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/formats/json.h"
#include "engine/formats/placeholder_file.h"
#include "engine/model/config/generation_config.h"
#include "engine/model/gguf/pre_tokenizers.h"
#include "engine/model/gguf/token_type.h"
#include "engine/text/tokenizer/tokenizer.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

using Json = nlohmann::json;

// "A B" of each merge, and the token that it makes.
struct Merge {
  std::string text;
  std::string token;
};

absl::StatusOr<std::vector<Merge>> ReadMerges(const Json& model) {
  std::vector<Merge> merges;
  const auto list = model.find("merges");
  if (list == model.end() || !list->is_array())
    return absl::InvalidArgumentError("tokenizer.json $.model.merges: expected a list");
  for (const Json& entry : *list) {
    if (entry.is_string()) {
      const std::string text = entry.get<std::string>();
      const size_t space = text.find(' ', 1);
      if (space == std::string::npos)
        return absl::InvalidArgumentError("tokenizer.json $.model.merges: no space in an entry");
      merges.push_back({text, absl::StrCat(text.substr(0, space), text.substr(space + 1))});
      continue;
    }
    if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_string())
      return absl::InvalidArgumentError("tokenizer.json $.model.merges: expected pairs of texts");
    const std::string a = entry[0].get<std::string>(), b = entry[1].get<std::string>();
    merges.push_back({absl::StrCat(a, " ", b), a + b});
  }
  return merges;
}

struct TokenList {
  std::vector<std::string> texts;
  std::vector<int32_t> types;
};

void SetType(GgufTokenType type, size_t id, TokenList& tokens) {
  tokens.types[id] = static_cast<int32_t>(type);
}

bool IsByteToken(std::string_view text) {
  return text.size() == 6 && text.substr(0, 3) == "<0x" && text.back() == '>';
}

absl::StatusOr<TokenList> ListTokens(const Tokenizer& tokenizer, int64_t rows, bool byte_level) {
  if (tokenizer.vocab_size() > rows) {
    return absl::InvalidArgumentError(absl::StrCat("the tokenizer has ", tokenizer.vocab_size(),
                                                   " tokens, but the embedding of the model has ",
                                                   rows, " rows"));
  }
  TokenList tokens;
  tokens.types.resize(static_cast<size_t>(rows));
  for (int64_t id = 0; id < rows; ++id) {
    std::string text(id < tokenizer.vocab_size() ? tokenizer.IdToToken(static_cast<int32_t>(id))
                                                 : "");
    // llama.cpp reads a token up to a zero byte. It spells that byte with the token of the byte.
    if (text.find('\0') != std::string::npos) text.clear();
    const auto index = static_cast<size_t>(id);
    tokens.texts.push_back(text.empty() ? absl::StrCat("[PAD", id, "]") : text);
    SetType(text.empty()                       ? GgufTokenType::kUnused
            : !byte_level && IsByteToken(text) ? GgufTokenType::kByte
                                               : GgufTokenType::kNormal,
            index, tokens);
  }
  for (const AddedToken& added : tokenizer.added_tokens()) {
    const auto index = static_cast<size_t>(added.id);
    if (index >= tokens.types.size()) continue;
    // A token of spaces is made by merges, too, and llama.cpp writes only such tokens as spaces.
    const bool has_spaces = !byte_level && absl::StrContains(added.content, kSpaceSymbol);
    SetType(added.special ? GgufTokenType::kControl
            : has_spaces  ? GgufTokenType::kNormal
                          : GgufTokenType::kUserDefined,
            index, tokens);
  }
  if (const auto unknown = tokenizer.unk_id(); unknown && !byte_level)
    SetType(GgufTokenType::kUnknown, static_cast<size_t>(*unknown), tokens);
  return tokens;
}

// llama.cpp merges the pair whose token has the highest score: the earlier a merge is in the list,
// the higher is the score of the token that it makes. Scores of other tokens are not compared.
std::vector<float> Scores(const TokenList& tokens, const std::vector<Merge>& merges) {
  absl::flat_hash_map<std::string_view, int64_t> ranks;
  for (size_t i = 0; i < merges.size(); ++i)
    ranks.emplace(merges[i].token, static_cast<int64_t>(i));
  std::vector<float> scores;
  for (const std::string& text : tokens.texts) {
    const auto rank = ranks.find(text);
    scores.push_back(-static_cast<float>(rank == ranks.end() ? static_cast<int64_t>(merges.size())
                                                             : rank->second));
  }
  return scores;
}

// Whether the first piece of a text gets a space in front.
bool AddsSpace(const Json& part) {
  if (!part.is_object()) return false;
  const Json type = part.value("type", Json());
  if (type == "Prepend") return true;
  if (type == "Metaspace") return part.value("prepend_scheme", Json()) != "never";
  for (const char* list : {"normalizers", "pretokenizers"}) {
    if (part.contains(list) && part[list].is_array() &&
        std::any_of(part[list].begin(), part[list].end(), AddsSpace))
      return true;
  }
  return false;
}

void AddId(const char* name, std::optional<int32_t> id, GgufEntries& entries) {
  if (id) entries.AddUint32(absl::StrCat("tokenizer.ggml.", name, "_token_id"), *id);
}

// The special tokens, and whether a text begins and ends with some.
absl::Status AddSpecialIds(const std::string& folder, const Tokenizer& tokenizer,
                           GgufEntries& entries) {
  ASSIGN_OR_RETURN(const std::vector<int32_t> ends, EosIdsOf(folder));
  std::optional<int32_t> eos = tokenizer.eos_id();
  if (!eos && !ends.empty()) eos = ends.front();
  AddId("bos", tokenizer.bos_id(), entries);
  AddId("eos", eos, entries);
  // Another token at which an answer ends.
  const auto other =
      std::find_if(ends.begin(), ends.end(), [&](int32_t id) { return eos && id != *eos; });
  if (other != ends.end()) AddId("eot", *other, entries);
  AddId("padding", tokenizer.pad_id(), entries);
  AddId("unknown", tokenizer.unk_id(), entries);
  Encoding whole;
  RETURN_IF_ERROR(tokenizer.Encode("a", &whole, /*add_special_tokens=*/true));
  const bool adds_bos = !whole.ids.empty() && tokenizer.bos_id() == whole.ids.front();
  const bool adds_eos = whole.ids.size() > 1 && eos == whole.ids.back();
  entries.AddBool("tokenizer.ggml.add_bos_token", adds_bos);
  entries.AddBool("tokenizer.ggml.add_eos_token", adds_eos);
  return absl::OkStatus();
}

void AddTemplates(const std::vector<NamedTemplate>& templates, GgufEntries& entries) {
  std::vector<std::string> names;
  for (const NamedTemplate& item : templates) {
    if (item.name == "default") {
      entries.AddText("tokenizer.chat_template", item.source);
    } else {
      entries.AddText(absl::StrCat("tokenizer.chat_template.", item.name), item.source);
      names.push_back(item.name);
    }
  }
  if (!names.empty()) entries.AddTexts("tokenizer.chat_templates", names);
}

}  // namespace

absl::Status AddTokenizerEntries(const std::string& folder, int64_t rows, GgufEntries& entries) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer, Tokenizer::Load(folder));
  const std::string path = folder + "/tokenizer.json";
  ASSIGN_OR_RETURN(const std::string text, ReadRealFile(path));
  ASSIGN_OR_RETURN(const Json json, AsJsonObject(ParseJson(text), path));
  const Json model = json.value("model", Json::object());
  if (!model.is_object())
    return absl::InvalidArgumentError(absl::StrCat(path, " $.model: expected an object"));
  const Json decoder = json.value("decoder", Json::object());
  const bool byte_level = decoder.is_object() && decoder.value("type", Json()) == "ByteLevel";
  ASSIGN_OR_RETURN(const std::vector<Merge> merges, ReadMerges(model));
  ASSIGN_OR_RETURN(const TokenList tokens, ListTokens(*tokenizer, rows, byte_level));
  const NamedPreTokenizer* pre = byte_level ? PreTokenizerOf(json) : nullptr;
  if (byte_level && pre == nullptr) {
    return absl::UnimplementedError(
        absl::StrCat(path,
                     " $.pre_tokenizer: llama.cpp has no name for it, so the model cannot be "
                     "exported as GGUF; it has those of ",
                     PreTokenizerNames()));
  }
  entries.AddText("tokenizer.ggml.model", byte_level ? "gpt2" : "llama");
  entries.AddText("tokenizer.ggml.pre", byte_level ? pre->name : "default");
  entries.AddTexts("tokenizer.ggml.tokens", tokens.texts);
  if (!byte_level) entries.AddFloat32s("tokenizer.ggml.scores", Scores(tokens, merges));
  entries.AddInt32s("tokenizer.ggml.token_type", tokens.types);
  if (byte_level) {
    std::vector<std::string> texts;
    for (const Merge& merge : merges) texts.push_back(merge.text);
    entries.AddTexts("tokenizer.ggml.merges", texts);
  } else {
    entries.AddBool("tokenizer.ggml.add_space_prefix",
                    AddsSpace(json.value("normalizer", Json())) ||
                        AddsSpace(json.value("pre_tokenizer", Json())));
  }
  RETURN_IF_ERROR(AddSpecialIds(folder, *tokenizer, entries));
  AddTemplates(tokenizer->chat_templates(), entries);
  return absl::OkStatus();
}

}  // namespace trainerd::engine
