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

// Appends one spool frame to `out`. The payload has 1 to kMaxFrameBytes bytes; any other size is a
// programmer error and aborts the process. (A power cut can leave zero bytes at the end of a file,
// which would read as empty frames.)
void AppendSpoolFrame(std::string_view payload, std::string* out);

// Result of reading at one position of a spool.
struct SpoolFrame {
  enum class Kind {
    // `payload` and `next_offset` are set.
    kFrame,
    // The buffer ends inside the frame: it is still being written, or a crash cut it off.
    kIncomplete,
    // Invalid length or checksum.
    kCorrupt,
  };
  Kind kind = Kind::kIncomplete;
  // Points into the buffer.
  std::string_view payload;
  size_t next_offset = 0;
};
SpoolFrame ReadSpoolFrame(std::string_view buffer, size_t offset);

// For a caller with buffers of its own, which never blocks.
constexpr size_t kSocketHeaderBytes = 4;
void AppendSocketFrame(std::string_view payload, std::string* out);
// The length of the payload, from at least kSocketHeaderBytes bytes. Not checked against a limit.
uint32_t SocketFrameLength(std::string_view header);

// Writes one socket frame. Waits while the socket is full, even if it is non-blocking. Never raises
// SIGPIPE. Errors: Unavailable if the peer closed the connection; InvalidArgument for more than
// kMaxFrameBytes.
absl::Status WriteSocketFrame(int fd, std::string_view payload);
// Reads one socket frame; nullopt at an end of file between frames. Errors: DataLoss for an invalid
// length; DeadlineExceeded if no frame begins within `timeout_ms` (< 0: no limit), after which a
// new call is safe; Unavailable if the peer closes or stalls inside a frame, after which the
// connection cannot be used.
absl::StatusOr<std::optional<std::string>> ReadSocketFrame(int fd, int timeout_ms);

}  // namespace trainerd
