// SPDX-License-Identifier: Apache-2.0
#include "server/events/cursor.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "proto/contract/config/config_violation.h"
#include "server/store/errors.h"

namespace trainerd::server {
namespace {

absl::string_view View(std::string_view text) { return {text.data(), text.size()}; }

}  // namespace

std::string FormatCursor(std::string_view database_id, int64_t seq) {
  return absl::StrCat(View(database_id), "-", seq);
}

absl::Status CursorExpired(std::string_view why) {
  return ErrorWithReason(
      absl::StatusCode::kOutOfRange, "CURSOR_EXPIRED",
      absl::StrCat("the cursor has expired: ", View(why),
                   "; take a new snapshot (send_snapshot) and continue from its cursor"));
}

absl::StatusOr<int64_t> ParseCursor(std::string_view cursor, std::string_view database_id,
                                    int64_t last_seq) {
  if (cursor == "begin") return 0;
  const size_t dash = cursor.rfind('-');
  int64_t seq = -1;
  if (dash == cursor.npos || !absl::SimpleAtoi(View(cursor.substr(dash + 1)), &seq) || seq < 0) {
    return BadField("after",
                    absl::StrCat(Quoted(std::string(cursor)),
                                 " is not a cursor; use the cursor of a response, or \"begin\""));
  }
  if (cursor.substr(0, dash) != database_id) {
    return CursorExpired("it belongs to another database");
  }
  if (seq > last_seq) {
    return CursorExpired("it is newer than the log, which was probably restored from a backup");
  }
  return seq;
}

}  // namespace trainerd::server
