// SPDX-License-Identifier: Apache-2.0
// Little-endian by shifts, so a spool is the same file on every machine.
#include "proto/contract/run_dir/framing.h"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <climits>

#include "absl/strings/str_cat.h"
#include "proto/base/atomic_file.h"
#include "proto/base/crc32c.h"
#include "proto/base/status_macros.h"

namespace trainerd {
namespace {

constexpr size_t kSpoolHeaderBytes = 8;
using Clock = std::chrono::steady_clock;

void AppendU32(uint32_t value, std::string* out) {
  for (int shift = 0; shift < 32; shift += 8) out->push_back(static_cast<char>(value >> shift));
}

uint32_t ReadU32(std::string_view bytes) {
  uint32_t value = 0;
  for (int i = 3; i >= 0; --i) value = (value << 8) | static_cast<unsigned char>(bytes[i]);
  return value;
}

bool PeerIsGone(int error) {
  return error == EPIPE || error == ECONNRESET || error == ENOTCONN || error == ESHUTDOWN;
}

absl::Status SocketError(int error, std::string_view what) {
  if (PeerIsGone(error)) return absl::UnavailableError("the peer closed the connection");
  return ErrnoStatus(error, what);
}

// Waits until the socket is ready for `events` or the deadline passes (then false).
absl::StatusOr<bool> WaitReady(int fd, short events,
                               const std::optional<Clock::time_point>& deadline) {
  while (true) {
    int wait_ms = -1;
    if (deadline.has_value()) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(*deadline - Clock::now());
      wait_ms = left.count() < 0         ? 0
                : left.count() > INT_MAX ? INT_MAX
                                         : static_cast<int>(left.count());
    }
    pollfd entry{fd, events, 0};
    const int ready = poll(&entry, 1, wait_ms);
    if (ready > 0) return true;
    if (ready == 0 && deadline.has_value() && Clock::now() >= *deadline) return false;
    if (ready < 0 && errno != EINTR) return ErrnoStatus(errno, "poll");
  }
}

enum class Fill { kDone, kEndOfFile, kTimeout };

// Fills *out from position *filled on and advances *filled.
absl::StatusOr<Fill> FillBuffer(int fd, const std::optional<Clock::time_point>& deadline,
                                std::string* out, size_t* filled) {
  while (*filled < out->size()) {
    const ssize_t got = recv(fd, out->data() + *filled, out->size() - *filled, MSG_DONTWAIT);
    if (got > 0) {
      *filled += static_cast<size_t>(got);
      continue;
    }
    if (got == 0) return Fill::kEndOfFile;
    if (errno == EINTR) continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK) {
      if (PeerIsGone(errno)) return Fill::kEndOfFile;
      return SocketError(errno, "recv");
    }
    ASSIGN_OR_RETURN(const bool ready, WaitReady(fd, POLLIN, deadline));
    if (!ready) return Fill::kTimeout;
  }
  return Fill::kDone;
}

}  // namespace

void AppendSpoolFrame(std::string_view payload, std::string* out) {
  TRAINERD_CHECK(!payload.empty() && payload.size() <= kMaxFrameBytes);
  out->reserve(out->size() + kSpoolHeaderBytes + payload.size());
  AppendU32(static_cast<uint32_t>(payload.size()), out);
  AppendU32(Crc32c(payload), out);
  out->append(payload);
}

SpoolFrame ReadSpoolFrame(std::string_view buffer, size_t offset) {
  SpoolFrame frame;
  if (offset > buffer.size() || buffer.size() - offset < 4) return frame;
  const uint32_t length = ReadU32(buffer.substr(offset));
  if (length == 0 || length > kMaxFrameBytes) {
    frame.kind = SpoolFrame::Kind::kCorrupt;
    return frame;
  }
  if (buffer.size() - offset < kSpoolHeaderBytes + length) return frame;
  const std::string_view payload = buffer.substr(offset + kSpoolHeaderBytes, length);
  if (ReadU32(buffer.substr(offset + 4)) != Crc32c(payload)) {
    frame.kind = SpoolFrame::Kind::kCorrupt;
    return frame;
  }
  frame.kind = SpoolFrame::Kind::kFrame;
  frame.payload = payload;
  frame.next_offset = offset + kSpoolHeaderBytes + length;
  return frame;
}

void AppendSocketFrame(std::string_view payload, std::string* out) {
  out->reserve(out->size() + kSocketHeaderBytes + payload.size());
  AppendU32(static_cast<uint32_t>(payload.size()), out);
  out->append(payload);
}

uint32_t SocketFrameLength(std::string_view header) { return ReadU32(header); }

absl::Status WriteSocketFrame(int fd, std::string_view payload) {
  if (payload.size() > kMaxFrameBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("a socket frame of ", payload.size(), " bytes exceeds ", kMaxFrameBytes));
  }
  std::string bytes;
  AppendSocketFrame(payload, &bytes);
  size_t written = 0;
  while (written < bytes.size()) {
    const ssize_t sent = send(fd, bytes.data() + written, bytes.size() - written, MSG_NOSIGNAL);
    if (sent >= 0) {
      written += static_cast<size_t>(sent);
      continue;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK) return SocketError(errno, "send");
    RETURN_IF_ERROR(WaitReady(fd, POLLOUT, std::nullopt).status());
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<std::string>> ReadSocketFrame(int fd, int timeout_ms) {
  std::optional<Clock::time_point> deadline;
  if (timeout_ms >= 0) deadline = Clock::now() + std::chrono::milliseconds(timeout_ms);
  std::string header(kSocketHeaderBytes, '\0');
  size_t filled = 0;
  ASSIGN_OR_RETURN(const Fill head, FillBuffer(fd, deadline, &header, &filled));
  if (filled == 0) {
    if (head == Fill::kEndOfFile) return std::optional<std::string>();
    if (head == Fill::kTimeout)
      return absl::DeadlineExceededError(absl::StrCat("no frame within ", timeout_ms, " ms"));
  }
  if (head == Fill::kTimeout)
    return absl::UnavailableError("the peer stalled inside the header of a frame");
  if (head == Fill::kEndOfFile)
    return absl::UnavailableError("the peer closed the connection inside the header of a frame");
  const uint32_t length = SocketFrameLength(header);
  if (length > kMaxFrameBytes) {
    return absl::DataLossError(absl::StrCat("invalid socket frame: its length is ", length,
                                            " bytes, the limit is ", kMaxFrameBytes));
  }
  std::string payload(length, '\0');
  filled = 0;
  ASSIGN_OR_RETURN(const Fill body, FillBuffer(fd, deadline, &payload, &filled));
  if (body != Fill::kDone) {
    return absl::UnavailableError(
        absl::StrCat("the peer ", body == Fill::kTimeout ? "stalled" : "closed the connection",
                     " after ", filled, " of ", length, " bytes of a frame"));
  }
  return std::optional<std::string>(std::move(payload));
}

}  // namespace trainerd
