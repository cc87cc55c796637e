// SPDX-License-Identifier: Apache-2.0
// Why a row of a data file cannot be used.
#pragma once

#include <cstdint>
#include <string>

namespace trainerd::engine {

struct RecordError {
  std::string code;     // stable word: BAD_JSON, BAD_UTF8, BAD_SCHEMA, NO_MESSAGES, UNKNOWN_ROLE,
                        // LINE_TOO_LONG, TEMPLATE_ERROR, …
  std::string message;  // what is wrong, the value, what to do
  int64_t column = 0;   // 1-based byte in the line; 0 = the row as a whole
  bool fatal = false;   // fails the job whatever data.bad_rows says (too_long: fail)
};

}  // namespace trainerd::engine
