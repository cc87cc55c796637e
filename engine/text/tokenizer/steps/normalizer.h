// SPDX-License-Identifier: Apache-2.0
// The "normalizer" of tokenizer.json: NFC, Prepend and Replace, in the order of the file.
//
// SentencePiece tokenizers replace each space by a character of their own, most often U+2581: the
// space symbol. Behind the normalizer this code writes a space for it, which then stands for
// nothing else, so that most texts keep their bytes.
// Source: PyPI tokenizers, normalizers/prepend.rs and replace.rs, tokenizer/normalizer.rs.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/text/unicode/nfc.h"

namespace trainerd::engine {

class Normalizer {
 public:
  struct Step {
    enum class Kind { kNfc, kPrepend, kReplace } kind;
    std::string pattern;  // of kReplace; not empty
    std::string content;
  };

  Normalizer() = default;
  // No step behind the one that replaces a space may write a space (WritesSpace).
  explicit Normalizer(std::vector<Step> steps);

  // The first step that writes a space behind the one that replaces spaces, or -1.
  static int WritesSpace(const std::vector<Step>& steps);

  bool empty() const { return steps_.empty(); }
  // The character that replaces a space; "": a space stays a space.
  std::string_view space_symbol() const { return space_symbol_; }

  enum class Change {
    kNone,          // the text stays as it is
    kSpaceInFront,  // it gets a space in front
    kOther,         // what Normalize computes
  };
  // What happens to `text`, which is valid UTF-8 and not empty.
  Change ChangeOf(std::string_view text) const;

  // Replaces *out with the normalized `text`, which is valid UTF-8. As in the reference, text that
  // is put in front comes from the first character, and what replaces a pattern from its last byte.
  void Normalize(std::string_view text, NormalizedText* out) const;

 private:
  std::vector<Step> steps_;
  std::string space_symbol_;
  bool nfc_ = false;
  bool space_in_front_ = false;
  // A text without the space symbol is changed by NFC and space_in_front_ alone.
  bool simple_ = true;
};

// Whether `text`, which is valid UTF-8, is one character.
bool IsOneCharacter(std::string_view text);

// Replaces *out with `text` in which a space is written for each `symbol`.
void WriteSpaces(std::string_view text, std::string_view symbol, NormalizedText* out);

}  // namespace trainerd::engine
