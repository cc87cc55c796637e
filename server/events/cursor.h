// SPDX-License-Identifier: Apache-2.0
// A position in the event log as text: "<database id>-<sequence number>". It includes that event.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace trainerd::server {

std::string FormatCursor(std::string_view database_id, int64_t seq);

// Sequence number of a cursor of this database. "begin" is 0.
// Errors: InvalidArgument if it is not a cursor; OutOfRange (CURSOR_EXPIRED) if it belongs to
// another database or is beyond `last_seq`.
absl::StatusOr<int64_t> ParseCursor(std::string_view cursor, std::string_view database_id,
                                    int64_t last_seq);

// OutOfRange with reason CURSOR_EXPIRED and the advice to take a new snapshot.
absl::Status CursorExpired(std::string_view why);

}  // namespace trainerd::server
