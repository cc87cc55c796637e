// SPDX-License-Identifier: Apache-2.0
// Splits template source into tokens as Jinja 3.1 does with trim_blocks and lstrip_blocks. The
// lexer does all white space control, so the parser needs none.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace trainerd::engine::jinja {

struct Position {
  uint32_t line = 1, column = 1;  // from 1; columns count bytes
};

// InvalidArgument "template line L, column C: what".
absl::Status TemplateError(Position position, std::string_view what);

enum class TokenKind : uint8_t {
  kData,        // text outside of tags
  kBlockBegin,  // {%
  kBlockEnd,
  kOutputBegin,  // {{
  kOutputEnd,
  kName,
  kString,   // text: its value
  kInteger,  // text: digits in decimal
  kFloat,
  kOperator,  // text: the operator
  kEnd,
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  std::string text;
  Position position;
};

// Errors: InvalidArgument with line and column.
absl::StatusOr<std::vector<Token>> Tokenize(std::string_view source);

}  // namespace trainerd::engine::jinja
