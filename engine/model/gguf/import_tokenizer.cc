// SPDX-License-Identifier: Apache-2.0
#include "engine/model/gguf/import_tokenizer.h"

#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "engine/model/gguf/import_sentencepiece.h"
#include "engine/model/gguf/imported_tokens.h"
#include "engine/model/gguf/pre_tokenizers.h"
#include "proto/base/plain_text.h"
#include "proto/base/status_macros.h"
#include "proto/base/utf8.h"

namespace trainerd::engine {
namespace {

using Json = nlohmann::ordered_json;

std::string Text(std::string_view text) { return std::string(text); }

absl::Status CheckTexts(const std::vector<std::string_view>& texts, std::string_view key) {
  for (size_t i = 0; i < texts.size(); ++i) {
    if (FindInvalidUtf8(texts[i]) != std::string_view::npos)
      return absl::InvalidArgumentError(absl::StrCat(Text(key), ": entry ", i, " is not UTF-8"));
  }
  return absl::OkStatus();
}

absl::StatusOr<ImportedTokens> ReadTokens(const GgufMetadata& metadata) {
  ImportedTokens tokens;
  ASSIGN_OR_RETURN(tokens.texts, metadata.Texts("tokenizer.ggml.tokens"));
  RETURN_IF_ERROR(CheckTexts(tokens.texts, "tokenizer.ggml.tokens"));
  ASSIGN_OR_RETURN(tokens.types, metadata.Integers("tokenizer.ggml.token_type"));
  if (tokens.texts.size() != tokens.types.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("tokenizer.ggml.token_type has ", tokens.types.size(),
                     " entries, but tokenizer.ggml.tokens has ", tokens.texts.size()));
  }
  // Rows of the embedding without a token, which only pad it.
  while (!tokens.types.empty() && tokens.Is(tokens.types.size() - 1, GgufTokenType::kUnused)) {
    tokens.types.pop_back();
    tokens.texts.pop_back();
  }
  tokens.vocabulary_end = tokens.texts.size();
  while (tokens.vocabulary_end > 0 && tokens.IsAdded(tokens.vocabulary_end - 1) &&
         !tokens.Is(tokens.vocabulary_end - 1, GgufTokenType::kUnknown))
    --tokens.vocabulary_end;
  absl::flat_hash_set<std::string_view> seen;
  for (const std::string_view text : tokens.texts) {
    if (!seen.insert(text).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("tokenizer.ggml.tokens has \"", PlainText(text), "\" twice"));
    }
  }
  return tokens;
}

// The id of a special token; nullopt if the file names none.
absl::StatusOr<std::optional<int64_t>> SpecialId(const GgufMetadata& metadata,
                                                 const std::string& name, size_t num_tokens) {
  const std::string key = absl::StrCat("tokenizer.ggml.", name, "_token_id");
  ASSIGN_OR_RETURN(const std::optional<int64_t> id, metadata.OptionalCount(key));
  if (!id || static_cast<uint64_t>(*id) < num_tokens) return id;
  return absl::InvalidArgumentError(
      absl::StrCat(key, " is ", *id, ", but the file has ", num_tokens, " tokens"));
}

Json AddedTokensJson(const ImportedTokens& tokens) {
  Json added = Json::array();
  for (size_t id = 0; id < tokens.texts.size(); ++id) {
    if (!tokens.IsAdded(id)) continue;
    added.push_back(
        {{"id", id},
         {"content", Text(tokens.texts[id])},
         {"single_word", false},
         {"lstrip", false},
         {"rstrip", false},
         {"normalized", false},
         {"special", tokens.types[id] == static_cast<int64_t>(GgufTokenType::kControl)}});
  }
  return added;
}

// Puts BOS in front of a text; null without it.
Json PostProcessorJson(const ImportedTokens& tokens, std::optional<int64_t> bos) {
  if (!bos) return nullptr;
  const std::string text = Text(tokens.texts[static_cast<size_t>(*bos)]);
  const Json token = {{"SpecialToken", {{"id", text}, {"type_id", 0}}}};
  const Json a = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  const Json b = {{"Sequence", {{"id", "B"}, {"type_id", 1}}}};
  Json special = Json::object();
  special[text] = {{"id", text}, {"ids", Json::array({*bos})}, {"tokens", Json::array({text})}};
  return {{"type", "TemplateProcessing"},
          {"single", Json::array({token, a})},
          {"pair", Json::array({token, a, token, b})},
          {"special_tokens", special}};
}

absl::StatusOr<TokenizerParts> ByteLevelParts(const GgufMetadata& metadata) {
  ASSIGN_OR_RETURN(const std::string name, metadata.Text("tokenizer.ggml.pre"));
  const NamedPreTokenizer* pre = FindPreTokenizer(name);
  if (pre == nullptr) {
    return absl::UnimplementedError(absl::StrCat(
        "the pre-tokenizer \"", PlainText(name),
        "\" (tokenizer.ggml.pre) is not supported; supported are ", PreTokenizerNames()));
  }
  ASSIGN_OR_RETURN(const std::vector<std::string_view> merges,
                   metadata.Texts("tokenizer.ggml.merges"));
  RETURN_IF_ERROR(CheckTexts(merges, "tokenizer.ggml.merges"));
  Json merge_list = Json::array();
  for (const std::string_view merge : merges) merge_list.push_back(Text(merge));
  return TokenizerParts{.normalizer = NormalizerJson(*pre),
                        .pre_tokenizer = PreTokenizerJson(*pre),
                        .decoder = {{"type", "ByteLevel"},
                                    {"add_prefix_space", true},
                                    {"trim_offsets", true},
                                    {"use_regex", true}},
                        .model = {{"unk_token", nullptr},
                                  {"fuse_unk", false},
                                  {"byte_fallback", false},
                                  {"ignore_merges", pre->ignores_merges},
                                  {"merges", std::move(merge_list)}},
                        .adds_bos = pre->adds_bos};
}

absl::StatusOr<TokenizerParts> ReadParts(const GgufMetadata& metadata,
                                         const ImportedTokens& tokens) {
  ASSIGN_OR_RETURN(const std::string model, metadata.Text("tokenizer.ggml.model"));
  if (model == "gpt2") return ByteLevelParts(metadata);
  if (model == "llama") return SentencePieceParts(metadata, tokens);
  return absl::UnimplementedError(absl::StrCat("tokenizer.ggml.model \"", PlainText(model),
                                               "\" is not supported; supported are gpt2 and "
                                               "llama"));
}

Json ModelJson(const ImportedTokens& tokens, TokenizerParts& parts) {
  Json vocabulary = Json::object();
  // ordered_json looks a key up in linear time; the tokens differ, so they are appended.
  auto& members = vocabulary.get_ref<Json::object_t&>();
  members.reserve(tokens.vocabulary_end);
  for (size_t id = 0; id < tokens.vocabulary_end; ++id)
    members.push_back({Text(tokens.texts[id]), Json(id)});
  Json& model = parts.model;
  return {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", model["unk_token"]},
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix", nullptr},
          {"fuse_unk", model["fuse_unk"]},
          {"byte_fallback", model["byte_fallback"]},
          {"ignore_merges", model["ignore_merges"]},
          {"vocab", std::move(vocabulary)},
          {"merges", std::move(model["merges"])}};
}

}  // namespace

absl::StatusOr<ImportedTokenizer> ImportTokenizer(const GgufMetadata& metadata,
                                                  int64_t max_length) {
  ASSIGN_OR_RETURN(const ImportedTokens tokens, ReadTokens(metadata));
  ASSIGN_OR_RETURN(TokenizerParts parts, ReadParts(metadata, tokens));
  ImportedTokenizer result;
  result.num_tokens = static_cast<int64_t>(tokens.texts.size());
  ASSIGN_OR_RETURN(result.bos, SpecialId(metadata, "bos", tokens.texts.size()));
  ASSIGN_OR_RETURN(result.eos, SpecialId(metadata, "eos", tokens.texts.size()));
  ASSIGN_OR_RETURN(result.pad, SpecialId(metadata, "padding", tokens.texts.size()));
  ASSIGN_OR_RETURN(const std::optional<int64_t> unknown,
                   SpecialId(metadata, "unknown", tokens.texts.size()));
  ASSIGN_OR_RETURN(const bool adds_bos,
                   metadata.BoolOr("tokenizer.ggml.add_bos_token", parts.adds_bos));
  ASSIGN_OR_RETURN(const std::optional<std::string> chat_template,
                   metadata.OptionalText("tokenizer.chat_template"));
  if (chat_template && FindInvalidUtf8(*chat_template) != std::string_view::npos)
    return absl::InvalidArgumentError("tokenizer.chat_template is not UTF-8");
  const Json tokenizer = {
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"added_tokens", AddedTokensJson(tokens)},
      {"normalizer", parts.normalizer},
      {"pre_tokenizer", parts.pre_tokenizer},
      {"post_processor", PostProcessorJson(tokens, adds_bos ? result.bos : std::nullopt)},
      {"decoder", parts.decoder},
      {"model", ModelJson(tokens, parts)}};
  const auto text_of = [&](std::optional<int64_t> id) -> Json {
    if (!id) return nullptr;
    return Text(tokens.texts[static_cast<size_t>(*id)]);
  };
  Json config = {{"add_prefix_space", false}, {"bos_token", text_of(result.bos)}};
  if (chat_template) config["chat_template"] = *chat_template;
  config["clean_up_tokenization_spaces"] = false;
  config["eos_token"] = text_of(result.eos);
  config["model_max_length"] = max_length;
  config["pad_token"] = text_of(result.pad);
  config["tokenizer_class"] = "PreTrainedTokenizerFast";
  config["unk_token"] = text_of(unknown);
  result.tokenizer = tokenizer.dump(2) + "\n";
  result.config = config.dump(2) + "\n";
  return result;
}

}  // namespace trainerd::engine
