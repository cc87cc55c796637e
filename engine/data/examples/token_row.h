// SPDX-License-Identifier: Apache-2.0
// What a record became: an example, a pair of examples, or the reason why it is neither.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/data/examples/example_notes.h"
#include "engine/data/source/record_error.h"
#include "engine/data/store/example.h"

namespace trainerd::engine {

// Why a well-formed record is not trained.
enum class LeftOut { kNo, kNoTarget, kTooLong };

struct TokenizedText {
  TokenExample example;     // after truncation
  int64_t num_tokens = 0;   // before truncation
  int64_t num_targets = 0;  // labels that become a target
  bool truncated = false;
  std::string text;  // the rendered text, with keep_text
};

// The first part is that of the record's one conversation, or of the chosen answer of a pair.
struct TokenRow : TokenizedText {
  std::optional<RecordError> fault;      // set: nothing else but index is
  LeftOut left_out = LeftOut::kNo;       // of a pair: the whole pair is
  RowNotes notes;                        // of a pair: of both answers
  std::vector<std::string> unused_keys;  // of the record
  uint64_t text_hash = 0;                // of the rendered text, of a pair: of both texts
  // Of a pair.
  std::optional<TokenizedText> rejected;
};

}  // namespace trainerd::engine
