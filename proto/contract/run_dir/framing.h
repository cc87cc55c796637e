// SPDX-License-Identifier: Apache-2.0
// Frames of the spool and of the shim's sockets.
// Spool frame:  [u32 little-endian length][u32 little-endian CRC32C of the payload][payload]
// Socket frame: [u32 little-endian length][payload]
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace trainerd {

constexpr uint32_t kMaxFrameBytes = 16u << 20;

// Appends one spool frame to `out`. The payload must not be empty (a run of zero bytes, which a
// power cut may leave at the end of a file, would read as empty frames) nor longer than
// kMaxFrameBytes: either ends the process.
void AppendSpoolFrame(std::string_view payload, std::string* out);

// What reading at one position of a spool gave.
struct SpoolFrame {
  enum class Kind {
    kFrame,       // payload and next_offset are set
    kIncomplete,  // the bytes end inside the frame: more may come, or a crash cut it off
    kCorrupt,     // length or checksum cannot be right
  };
  Kind kind = Kind::kIncomplete;
  std::string_view payload;  // points into the buffer
  size_t next_offset = 0;
};
SpoolFrame ReadSpoolFrame(std::string_view buffer, size_t offset);

// Writes one socket frame; waits where the socket is full, also a non-blocking one; retries short
// writes and EINTR; never raises SIGPIPE. Errors: Unavailable if the peer closed the socket,
// InvalidArgument for more than kMaxFrameBytes.
absl::Status WriteSocketFrame(int fd, std::string_view payload);
// Reads one socket frame. nullopt = clean end of file between frames. Errors: DataLoss for an
// impossible length, DeadlineExceeded when `timeout_ms` (< 0: none) passes before a frame begins
// (calling again is safe), Unavailable if the peer closed the socket or stalls inside a frame (the
// connection is then of no further use).
absl::StatusOr<std::optional<std::string>> ReadSocketFrame(int fd, int timeout_ms);

}  // namespace trainerd
