// SPDX-License-Identifier: Apache-2.0
// Cuts a text into the words (pre-tokens) that BPE may not cross, by the "pre_tokenizer" of
// tokenizer.json. The regular expressions of model families are recognized by their text and
// implemented as hand-written scanners; any other expression is refused, never approximated.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace trainerd::engine {

// One step: returns where the piece that starts at `p` ends. Valid UTF-8, p < end.
using PieceScanner = const char* (*)(const char* p, const char* end);

// The scanner of a known "Split" expression, or null. Together its alternatives match every text
// without gaps, so that the behaviours "Isolated" and (inverted) "Removed" cut alike.
PieceScanner ScannerOfRegex(std::string_view regex);

// The expression that ByteLevel with use_regex applies.
PieceScanner Gpt2Scanner();

// "Digits": each numeric character by itself, or runs of them.
PieceScanner DigitsScanner(bool individual);

// "Metaspace" with split: a piece begins at each space.
PieceScanner MetaspaceScanner();

// Which pieces get a space in front, unless they begin with one.
enum class SpaceInFront { kNever, kFirst, kAlways };

class PreTokenizer {
 public:
  // Steps in the file's order; each cuts the pieces of the one before.
  void AddStep(PieceScanner scanner) { steps_.push_back(scanner); }
  // ByteLevel's add_prefix_space and Metaspace's prepend_scheme: a piece that reaches the next step
  // to be added, or the model, gets a space in front. kFirst: the piece at the start of the text.
  void PrefixSpaceHere(SpaceInFront which) {
    if (which != SpaceInFront::kNever) prefix_space_step_ = steps_.size();
    space_in_front_ = which;
  }
  // Metaspace: the character that means the same as a space; the text is given to Split with a
  // space for it. "" = none.
  void SetSpaceSymbol(std::string_view symbol) { space_symbol_ = symbol; }

  size_t num_steps() const { return steps_.size(); }
  std::optional<size_t> prefix_space_step() const { return prefix_space_step_; }
  SpaceInFront space_in_front() const { return space_in_front_; }
  std::string_view space_symbol() const { return space_symbol_; }

  // Appends the end offset of each piece of `text` after steps [first, last).
  void Split(std::string_view text, size_t first, size_t last, uint32_t offset,
             std::vector<uint32_t>* ends) const;

 private:
  std::vector<PieceScanner> steps_;
  std::optional<size_t> prefix_space_step_;
  SpaceInFront space_in_front_ = SpaceInFront::kNever;
  std::string space_symbol_;
};

}  // namespace trainerd::engine
