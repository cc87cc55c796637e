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

class PreTokenizer {
 public:
  // Steps in the file's order; each cuts the pieces of the one before.
  void AddStep(PieceScanner scanner) { steps_.push_back(scanner); }
  // ByteLevel's add_prefix_space: a piece that reaches the next step to be added, or the model,
  // without a space in front gets one.
  void PrefixSpaceHere() { prefix_space_step_ = steps_.size(); }

  size_t num_steps() const { return steps_.size(); }
  std::optional<size_t> prefix_space_step() const { return prefix_space_step_; }

  // Appends the end offset of each piece of `text` after steps [first, last).
  void Split(std::string_view text, size_t first, size_t last, uint32_t offset,
             std::vector<uint32_t>* ends) const;

 private:
  std::vector<PieceScanner> steps_;
  std::optional<size_t> prefix_space_step_;
};

}  // namespace trainerd::engine
