// SPDX-License-Identifier: Apache-2.0
#include "engine/text/tokenizer/tokenizer_file.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/formats/json.h"
#include "engine/text/tokenizer/tokenizer_json.h"
#include "engine/text/tokenizer/tokenizer_model.h"
#include "proto/base/status_macros.h"
#include "simdjson.h"

namespace trainerd::engine {
namespace {

using simdjson::dom::array;
using simdjson::dom::element;
using simdjson::dom::object;
using tokenizer_json::BoolOr;
using tokenizer_json::Malformed;
using tokenizer_json::ObjectAt;
using tokenizer_json::StringOr;
using tokenizer_json::TokenId;
using tokenizer_json::Unsupported;

constexpr int kMaxNesting = 16;  // Sequence within Sequence …

absl::Status ParseAddedTokens(const element& root, TokenizerFile* file) {
  array list;
  file->model_tokens = file->vocabulary.num_tokens();
  if (root["added_tokens"].get(list) != simdjson::SUCCESS) return absl::OkStatus();
  size_t index = 0;
  for (const element item : list) {
    const std::string path = absl::StrCat("$.added_tokens[", index++, "]");
    ASSIGN_OR_RETURN(const object o, ObjectAt(item, path));
    AddedToken token;
    element id;
    std::string_view content;
    if (o["id"].get(id) != simdjson::SUCCESS || o["content"].get(content) != simdjson::SUCCESS) {
      return Malformed(path, "expected \"id\" and \"content\"");
    }
    ASSIGN_OR_RETURN(token.id, TokenId(id, path + ".id"));
    token.content = std::string(content);
    token.special = BoolOr(o, "special", false);
    token.normalized = BoolOr(o, "normalized", !token.special);
    token.lstrip = BoolOr(o, "lstrip", false);
    token.rstrip = BoolOr(o, "rstrip", false);
    token.single_word = BoolOr(o, "single_word", false);
    if (file->vocabulary.IdOf(content) != token.id) {
      // A gap is refused before the vocabulary grows over it.
      const int32_t next = NextAddedId(file->model_tokens, file->added_tokens);
      if (token.id <= next && !file->vocabulary.Add(content, token.id)) {
        return Malformed(path, "its id or its content belongs to another token");
      }
      if (token.id != next) {
        return Malformed(path + ".id",
                         absl::StrCat("is ", token.id, ", where PyPI tokenizers gives this token ",
                                      next, "; number added tokens without gaps"));
      }
    }
    file->added_tokens.push_back(std::move(token));
  }
  return absl::OkStatus();
}

absl::Status ParseTemplateProcessing(const object& o, const std::string& path,
                                     TokenizerFile* file) {
  array single;
  object specials;
  if (o["single"].get(single) != simdjson::SUCCESS ||
      o["special_tokens"].get(specials) != simdjson::SUCCESS) {
    return Malformed(path, "expected \"single\" and \"special_tokens\"");
  }
  std::vector<int32_t> before, after;
  int sequences = 0;
  size_t index = 0;
  for (const element item : single) {
    const std::string at = absl::StrCat(path, ".single[", index++, "]");
    object part;
    if (item["Sequence"].get(part) == simdjson::SUCCESS) {
      if (StringOr(part, "id", "") != "A") return Unsupported(at, "a second sequence");
      ++sequences;
      continue;
    }
    array ids;
    if (item["SpecialToken"].get(part) != simdjson::SUCCESS ||
        specials[StringOr(part, "id", "")]["ids"].get(ids) != simdjson::SUCCESS) {
      return Malformed(at, "expected Sequence, or SpecialToken that special_tokens has");
    }
    for (const element value : ids) {
      ASSIGN_OR_RETURN(const int32_t id, TokenId(value, at));
      (sequences == 0 ? before : after).push_back(id);
    }
  }
  if (sequences != 1) return Unsupported(path + ".single", "other than one sequence");
  file->prefix.insert(file->prefix.begin(), before.begin(), before.end());
  file->suffix.insert(file->suffix.end(), after.begin(), after.end());
  return absl::OkStatus();
}

// RobertaProcessing and BertProcessing: {"cls": ["<s>", 0], "sep": ["</s>", 2]}.
absl::Status ParseClsSep(const object& o, const std::string& path, TokenizerFile* file) {
  for (const char* key : {"cls", "sep"}) {
    array pair;
    element id;
    if (o[key].get(pair) != simdjson::SUCCESS || pair.at(1).get(id) != simdjson::SUCCESS) {
      return Malformed(absl::StrCat(path, ".", key), "expected [token, id]");
    }
    ASSIGN_OR_RETURN(const int32_t token, TokenId(id, absl::StrCat(path, ".", key, "[1]")));
    if (std::strcmp(key, "cls") == 0) {
      file->prefix.insert(file->prefix.begin(), token);
    } else {
      file->suffix.push_back(token);
    }
  }
  return absl::OkStatus();
}

absl::Status ParsePostProcessor(const element& e, const std::string& path, int depth,
                                TokenizerFile* file) {
  if (e.is_null()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const object o, ObjectAt(e, path));
  const std::string_view type = StringOr(o, "type", "");
  if (type == "ByteLevel") return absl::OkStatus();  // changes offsets, not ids
  if (type == "TemplateProcessing") return ParseTemplateProcessing(o, path, file);
  if (type == "RobertaProcessing" || type == "BertProcessing") return ParseClsSep(o, path, file);
  array list;
  if (type != "Sequence" || depth > kMaxNesting) return Unsupported(path + ".type", type);
  if (o["processors"].get(list) != simdjson::SUCCESS) {
    return Malformed(path + ".processors", "expected a list");
  }
  size_t index = 0;
  for (const element item : list) {
    RETURN_IF_ERROR(ParsePostProcessor(item, absl::StrCat(path, ".processors[", index++, "]"),
                                       depth + 1, file));
  }
  return absl::OkStatus();
}

}  // namespace

int32_t NextAddedId(int64_t model_tokens, const std::vector<AddedToken>& added) {
  int64_t next = model_tokens;
  for (const AddedToken& token : added) next = std::max<int64_t>(next, token.id + 1);
  return static_cast<int32_t>(next);
}

absl::StatusOr<TokenizerFile> ParseTokenizerFile(std::string_view json) {
  simdjson::dom::parser parser;
  element root;
  auto error = parser.parse(json.data(), json.size()).get(root);
  if (error != simdjson::SUCCESS) {
    if (const std::optional<std::string> readable = WithoutOddNumbers(json); readable) {
      error = parser.parse(*readable).get(root);
    }
  }
  if (error != simdjson::SUCCESS) {
    const std::string advice = JsonFileAdvice(json);
    return absl::InvalidArgumentError(
        error == simdjson::EMPTY
            ? absl::StrCat("tokenizer.json: ", advice)
            : absl::StrCat("tokenizer.json: ", simdjson::error_message(error), "; ", advice));
  }
  if (!root.is_object()) return Malformed("$", "expected an object");
  TokenizerFile file;
  ASSIGN_OR_RETURN(file.steps, ParseEncoderSteps(root));
  if (!file.steps.byte_level) {
    const std::string_view replaced = file.steps.normalizer.space_symbol();
    file.vocabulary = Vocabulary::OfCharacters(
        replaced.empty() ? file.steps.pre_tokenizer.space_symbol() : replaced);
  }
  RETURN_IF_ERROR(ParseTokenizerModel(root, &file.vocabulary, &file.bpe));
  ASSIGN_OR_RETURN(file.decoder, ParseDecoder(root, file.steps.byte_level));
  RETURN_IF_ERROR(ParseAddedTokens(root, &file));
  element part;
  if (root["post_processor"].get(part) == simdjson::SUCCESS) {
    RETURN_IF_ERROR(ParsePostProcessor(part, "$.post_processor", 0, &file));
  }
  return file;
}

}  // namespace trainerd::engine
