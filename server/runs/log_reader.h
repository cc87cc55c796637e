// SPDX-License-Identifier: Apache-2.0
// Reads an attempt's log by byte offset. The shim writes logs/worker.<offset of its first byte, 20
// digits>.log and removes the oldest files, so an offset means the same byte before and after a
// rotation.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace trainerd::server {

struct LogSlice {
  // Offset of data's first byte; later than asked for when rotation removed what was wanted.
  int64_t offset = 0;
  std::string data;
  int64_t next_offset = 0;
  // Bytes between the wanted offset and `offset`.
  int64_t dropped_bytes = 0;
  // next_offset is the end of what is there now.
  bool at_end = false;
};

// At most `max_bytes` from `offset` on. No log yet = an empty slice. Errors: OutOfRange when
// `offset` is beyond the end.
absl::StatusOr<LogSlice> ReadLog(const std::string& attempt_dir, int64_t offset, int64_t max_bytes);

// Offset at which the last `lines` lines begin (a last line without newline counts), looking back
// at most 4 MiB; at least the oldest kept byte.
absl::StatusOr<int64_t> LogTailOffset(const std::string& attempt_dir, int lines);

}  // namespace trainerd::server
