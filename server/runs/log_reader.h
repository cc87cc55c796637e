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
  // Offset of the first byte of `data`; beyond the requested one when rotation removed that.
  int64_t offset = 0;
  std::string data;
  int64_t next_offset = 0;
  // Bytes between the requested offset and `offset`.
  int64_t dropped_bytes = 0;
  // next_offset is the end of the log at present.
  bool at_end = false;
};

// Reads at most `max_bytes` from `offset`. Empty without a log. Errors: OutOfRange when `offset` is
// beyond the end.
absl::StatusOr<LogSlice> ReadLog(const std::string& attempt_dir, int64_t offset, int64_t max_bytes);

// Offset of the last `lines` lines (a last line without newline counts), at most 4 MiB before the
// end and at least the oldest byte kept.
absl::StatusOr<int64_t> LogTailOffset(const std::string& attempt_dir, int lines);

}  // namespace trainerd::server
