// SPDX-License-Identifier: Apache-2.0
// SentencePiece-style tokenizers, compared with PyPI tokenizers in the same run on 100,000
// generated texts: the families of tests/golden/text, and their files changed in one way each.
#include <algorithm>
#include <functional>

#include "absl/strings/str_replace.h"
#include "nlohmann/json.hpp"
#include "tests/engine/text/tokenizer/reference_compare.h"

namespace trainerd::engine {
namespace {

using ::trainerd::testing::CompareWithReference;
using ::trainerd::testing::ReadText;
using ::trainerd::testing::ReferencePython;
using Json = nlohmann::ordered_json;

std::string Folder(const std::string& family) {
  return TRAINERD_SOURCE_DIR + "/tests/golden/text/tokenizers/" + family;
}

struct Change {
  const char* name;
  const char* family;
  std::function<void(Json*)> edit;
  // Not where characters are dropped, which shifts the reference's offsets, and not where NFC
  // composes them (tokenizer.h).
  bool offsets = true;
};

void SetTo(const char* json, const char* key, Json* file) { (*file)[key] = Json::parse(json); }

Json Metaspace(const char* scheme, bool split) {
  return {
      {"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", scheme}, {"split", split}};
}

std::function<void(Json*)> WithMetaspace(const char* scheme, bool split) {
  return [=](Json* f) {
    (*f)["normalizer"] = nullptr;
    (*f)["pre_tokenizer"] = Metaspace(scheme, split);
  };
}

std::function<void(Json*)> WithNormalizer(const char* json) {
  return [=](Json* f) { SetTo(json, "normalizer", f); };
}

std::function<void(Json*)> WithDecoder(const char* json) {
  return [=](Json* f) { SetTo(json, "decoder", f); };
}

std::function<void(Json*)> WithModel(Json keys) {
  return [keys](Json* f) { (*f)["model"].update(keys); };
}

// Gives the tokens of some bytes other spellings.
void RemoveByteTokens(Json* f) {
  Json vocabulary;
  for (const auto& [token, id] : (*f)["model"]["vocab"].items()) {
    const bool remove = token.size() == 6 && token.substr(0, 3) == "<0x" && id.get<int>() % 3 == 0;
    vocabulary[remove ? "gone" + token : token] = id;
  }
  (*f)["model"]["vocab"] = vocabulary;
}

void MergeByteTokens(Json* f) {
  Json& model = (*f)["model"];
  model["vocab"]["<0x0A><0x0A>"] = 5000;
  model["merges"].push_back({"<0x0A>", "<0x0A>"});
  // The added tokens are in the vocabulary: no number is needed for them.
  (*f)["added_tokens"].erase((*f)["added_tokens"].begin() + 3, (*f)["added_tokens"].end());
}

void ReplaceSymbol(const char* symbol, Json* f) {
  *f = Json::parse(absl::StrReplaceAll(f->dump(), {{"▁", symbol}}));
}

void FlagAddedTokens(bool lstrip, bool rstrip, bool single_word, Json* f) {
  for (Json& token : (*f)["added_tokens"]) {
    token.update({{"normalized", true},
                  {"lstrip", lstrip},
                  {"rstrip", rstrip},
                  {"single_word", single_word}});
  }
}

// Of pre-tokenizer and model.
std::vector<Change> ChangedWords() {
  return {
      {"metaspace_always_split", "llama2", WithMetaspace("always", true)},
      {"metaspace_always", "phi3", WithMetaspace("always", false)},
      {"metaspace_first_split", "gemma", WithMetaspace("first", true)},
      {"metaspace_never", "mistral", WithMetaspace("never", false)},
      {"metaspace_of_old_files", "llama2",
       [](Json* f) {
         (*f)["normalizer"] = nullptr;
         SetTo(R"({"type": "Metaspace", "replacement": "▁", "add_prefix_space": true})",
               "pre_tokenizer", f);
       }},
      {"metaspace_after_prepend", "llama2",
       [](Json* f) { (*f)["pre_tokenizer"] = Metaspace("always", true); }},
      {"digits_before_metaspace", "mistral",
       [](Json* f) {
         (*f)["pre_tokenizer"] = {
             {"type", "Sequence"},
             {"pretokenizers",
              {{{"type", "Digits"}, {"individual_digits", true}}, Metaspace("always", false)}}};
       }},
      {"digits_after_metaspace", "mistral",
       [](Json* f) {
         (*f)["pre_tokenizer"] = {
             {"type", "Sequence"},
             {"pretokenizers",
              {Metaspace("first", true), {{"type", "Digits"}, {"individual_digits", false}}}}};
       }},
      {"unk", "llama2", WithModel({{"byte_fallback", false}})},
      {"unk_not_fused", "gemma", WithModel({{"byte_fallback", false}, {"fuse_unk", false}})},
      {"nothing_for_unknown", "phi3", WithModel({{"byte_fallback", false}, {"unk_token", nullptr}}),
       /*offsets=*/false},
      {"some_byte_tokens", "llama2", RemoveByteTokens, /*offsets=*/false},
      {"ignore_merges", "gemma",
       [](Json* f) {
         WithMetaspace("never", true)(f);
         (*f)["model"]["ignore_merges"] = true;
         // No merge makes them, or another one is first.
         std::reverse((*f)["model"]["merges"].begin(), (*f)["model"]["merges"].end());
       }},
      {"merges_out_of_order", "mistral",
       [](Json* f) {
         std::reverse((*f)["model"]["merges"].begin(), (*f)["model"]["merges"].end());
       }},
      {"merged_byte_tokens", "llama2", MergeByteTokens},
  };
}

// Of normalizer, added tokens and decoder.
std::vector<Change> ChangedSteps() {
  return {
      {"other_symbol", "llama2", [](Json* f) { ReplaceSymbol("Ġ", f); }},
      {"ascii_symbol", "mistral", [](Json* f) { ReplaceSymbol("\\u0001", f); }},
      {"prepend_last", "llama2", WithNormalizer(R"({"type": "Sequence", "normalizers": [
         {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
         {"type": "Prepend", "prepend": "▁"}]})")},
      {"prepend_a_space", "phi3", WithNormalizer(R"({"type": "Sequence", "normalizers": [
         {"type": "Prepend", "prepend": " "},
         {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]})")},
      {"other_replacements", "phi3", WithNormalizer(R"({"type": "Sequence", "normalizers": [
         {"type": "Replace", "pattern": {"String": "the"}, "content": "de"},
         {"type": "Prepend", "prepend": "▁▁x"},
         {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
         {"type": "Replace", "pattern": {"String": "▁▁"}, "content": "▁"}]})")},
      {"spaces_stay", "llama2", WithNormalizer(R"({"type": "Prepend", "prepend": "▁"})")},
      {"no_normalizer", "llama2", WithNormalizer("null")},
      {"nfc", "gemma", WithNormalizer(R"({"type": "Sequence", "normalizers": [{"type": "NFC"},
         {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]})"),
       /*offsets=*/false},
      {"lstrip", "phi3", [](Json* f) { FlagAddedTokens(true, false, false, f); }},
      {"rstrip", "gemma", [](Json* f) { FlagAddedTokens(false, true, false, f); }},
      {"single_word", "llama2", [](Json* f) { FlagAddedTokens(true, true, true, f); }},
      {"decoder_metaspace", "mistral", WithDecoder(R"({"type": "Metaspace", "replacement": "▁",
         "prepend_scheme": "first", "split": false})")},
      {"decoder_metaspace_never", "gemma", WithDecoder(R"({"type": "Sequence", "decoders": [
         {"type": "ByteFallback"},
         {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never"}]})")},
      {"decoder_strips_tokens", "llama2", WithDecoder(R"({"type": "Sequence", "decoders": [
         {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
         {"type": "Strip", "content": " ", "start": 1, "stop": 0}, {"type": "ByteFallback"}]})")},
      {"decoder_strips_symbols", "phi3", WithDecoder(R"({"type": "Sequence", "decoders": [
         {"type": "ByteFallback"}, {"type": "Fuse"},
         {"type": "Strip", "content": "▁", "start": 2, "stop": 0},
         {"type": "Replace", "pattern": {"String": "▁"}, "content": "--"}]})")},
  };
}

class SentencePieceReferenceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (ReferencePython().empty()) {
      GTEST_SKIP() << "no reference packages: run deploy/install_dependencies.sh for tests";
    }
  }
};

TEST_F(SentencePieceReferenceTest, AgreesOnGeneratedTexts) {
  for (const char* family : {"llama2", "mistral", "phi3", "gemma"}) {
    CompareWithReference(Folder(family),
                         {.count = 12'000, .seed = 31, .offsets = true, .stream = true});
  }
}

TEST_F(SentencePieceReferenceTest, AgreesAboutChangedFiles) {
  int seed = 100;
  for (const std::vector<Change>& changes : {ChangedWords(), ChangedSteps()}) {
    for (const Change& change : changes) {
      SCOPED_TRACE(change.name);
      Json file = Json::parse(ReadText(Folder(change.family) + "/tokenizer.json"));
      change.edit(&file);
      TempDir folder;
      folder.Write("tokenizer.json", file.dump());
      CompareWithReference(folder.path(),
                           {.count = 1'800, .seed = ++seed, .offsets = change.offsets});
    }
  }
}

}  // namespace
}  // namespace trainerd::engine
