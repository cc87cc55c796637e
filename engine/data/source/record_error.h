// SPDX-License-Identifier: Apache-2.0
// Why a record of a data file cannot be used.
#pragma once

#include <cstdint>
#include <string>

namespace trainerd::engine {

struct RecordError {
  // Stable word: BAD_JSON, BAD_UTF8, BAD_SCHEMA, NO_MESSAGES, UNKNOWN_ROLE, LINE_TOO_LONG,
  // TEMPLATE_ERROR, …
  std::string code;
  // What is wrong, the value, what to do.
  std::string message;
  // 1-based byte in the line; 0 = the record as a whole.
  int64_t column = 0;
  // That line, counted from the record's first line.
  int64_t lines_down = 0;
  // Fails the job whatever data.bad_rows is (too_long: fail).
  bool fatal = false;
};

inline RecordError TooLongLine() {
  return {.code = "LINE_TOO_LONG",
          .message = "the line is longer than 100 MiB; split the conversation"};
}

}  // namespace trainerd::engine
