// SPDX-License-Identifier: Apache-2.0
#include "engine/platform/process_memory.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

namespace trainerd::engine {
namespace {

// Bytes of a line "NAME:   1234 kB".
std::optional<int64_t> FieldBytes(std::string_view status, std::string_view name) {
  size_t at = 0;
  while (at < status.size()) {
    const size_t end = std::min(status.find('\n', at), status.size());
    std::string_view line = status.substr(at, end - at);
    at = end + 1;
    if (line.substr(0, name.size()) != name) continue;
    line.remove_prefix(name.size());
    int64_t kibibytes = -1;
    for (const char c : line) {
      if (c >= '0' && c <= '9') {
        kibibytes = (kibibytes < 0 ? 0 : kibibytes) * 10 + (c - '0');
      } else if (kibibytes >= 0) {
        break;
      }
    }
    if (kibibytes < 0) return std::nullopt;
    return kibibytes * 1024;
  }
  return std::nullopt;
}

}  // namespace

std::optional<ProcessMemory> ParseProcessStatus(std::string_view status) {
  const std::optional<int64_t> resident = FieldBytes(status, "VmRSS:");
  const std::optional<int64_t> peak = FieldBytes(status, "VmHWM:");
  if (!resident || !peak) return std::nullopt;
  return ProcessMemory{.resident_bytes = *resident, .peak_resident_bytes = *peak};
}

std::optional<ProcessMemory> ReadProcessMemory() {
  const int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return std::nullopt;
  char buffer[8192];
  const ssize_t size = read(fd, buffer, sizeof(buffer));
  close(fd);
  if (size <= 0) return std::nullopt;
  return ParseProcessStatus(std::string_view(buffer, static_cast<size_t>(size)));
}

}  // namespace trainerd::engine
