// SPDX-License-Identifier: Apache-2.0
// The names of the files have the offsets. A file that does not exist at the open was removed by
// rotation after the listing, which is then repeated.
#include "server/runs/log_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "proto/base/atomic_file.h"
#include "proto/base/directory.h"
#include "proto/base/fd.h"
#include "proto/base/status_macros.h"
#include "proto/contract/run_dir/attempt_files.h"

namespace trainerd::server {
namespace {

constexpr int64_t kTailLookBack = 4 << 20;
constexpr int kListingTries = 5;

// First offset → path.
absl::StatusOr<std::map<int64_t, std::string>> ListLogs(const std::string& attempt_dir) {
  const std::string dir = attempt_dir + "/logs";
  std::map<int64_t, std::string> files;
  absl::StatusOr<std::vector<std::string>> names = ListDirectory(dir);
  if (absl::IsNotFound(names.status())) return files;
  if (!names.ok()) return names.status();
  for (const std::string& name : *names) {
    const std::optional<int64_t> start = ParseLogFileName(name);
    if (start.has_value()) files[*start] = dir + "/" + name;
  }
  return files;
}

// nullopt when the file was removed since the listing.
absl::StatusOr<std::optional<std::string>> ReadPart(const std::string& path, int64_t at,
                                                    int64_t max_bytes) {
  const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.is_open() && errno == ENOENT) return std::optional<std::string>();
  if (!fd.is_open()) return ErrnoStatus(errno, "open " + path);
  std::string data(static_cast<size_t>(max_bytes), '\0');
  size_t filled = 0;
  while (filled < data.size()) {
    const ssize_t n = pread(fd.get(), data.data() + filled, data.size() - filled,
                            at + static_cast<int64_t>(filled));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, "read " + path);
    if (n == 0) break;
    filled += static_cast<size_t>(n);
  }
  data.resize(filled);
  return std::optional<std::string>(std::move(data));
}

// Reads the files of one listing; nullopt when one of them was removed since.
absl::StatusOr<std::optional<LogSlice>> TryRead(const std::map<int64_t, std::string>& files,
                                                int64_t offset, int64_t max_bytes) {
  LogSlice slice;
  slice.offset = offset;
  auto file = files.upper_bound(offset);
  if (file == files.begin()) {
    // Before the oldest byte kept.
    slice.dropped_bytes = file->first - offset;
    slice.offset = file->first;
  } else {
    --file;
  }
  slice.next_offset = slice.offset;
  for (; file != files.end(); ++file) {
    const int64_t room = max_bytes - static_cast<int64_t>(slice.data.size());
    if (room <= 0) return std::optional<LogSlice>(std::move(slice));
    ASSIGN_OR_RETURN(std::optional<std::string> part,
                     ReadPart(file->second, slice.next_offset - file->first, room));
    if (!part.has_value()) return std::optional<LogSlice>();
    slice.next_offset += static_cast<int64_t>(part->size());
    slice.data += *part;
    const auto next = std::next(file);
    if (next == files.end()) {
      // Less than there was room for, so this is the end of the log.
      slice.at_end = static_cast<int64_t>(part->size()) < room;
      if (part->empty() && slice.data.empty() && offset > slice.next_offset) break;
    } else if (slice.next_offset < next->first) {
      break;
    }
  }
  return std::optional<LogSlice>(std::move(slice));
}

absl::StatusOr<int64_t> EndOffset(const std::map<int64_t, std::string>& files) {
  if (files.empty()) return 0;
  struct stat info;
  const auto& [start, path] = *files.rbegin();
  if (stat(path.c_str(), &info) != 0) return ErrnoStatus(errno, "stat " + path);
  return start + info.st_size;
}

}  // namespace

absl::StatusOr<LogSlice> ReadLog(const std::string& attempt_dir, int64_t offset,
                                 int64_t max_bytes) {
  if (offset < 0 || max_bytes < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("log offset ", offset, " and length ", max_bytes,
                     " bytes: the offset must be at least 0 and the length at least 1"));
  }
  for (int tries = 0; tries < kListingTries; ++tries) {
    ASSIGN_OR_RETURN(const auto files, ListLogs(attempt_dir));
    if (files.empty() && offset == 0) return LogSlice{.at_end = true};
    ASSIGN_OR_RETURN(const int64_t end, EndOffset(files));
    if (offset > end) {
      return absl::OutOfRangeError(
          absl::StrCat("log offset ", offset, " is beyond the end of the log, ", end));
    }
    ASSIGN_OR_RETURN(std::optional<LogSlice> slice, TryRead(files, offset, max_bytes));
    if (slice.has_value()) return *std::move(slice);
  }
  return absl::UnavailableError("the log of " + attempt_dir + " rotates faster than it is read");
}

absl::StatusOr<int64_t> LogTailOffset(const std::string& attempt_dir, int lines) {
  ASSIGN_OR_RETURN(const auto files, ListLogs(attempt_dir));
  if (files.empty()) return 0;
  ASSIGN_OR_RETURN(const int64_t end, EndOffset(files));
  const int64_t begin = std::max(files.begin()->first, end - kTailLookBack);
  if (end <= begin || lines < 1) return end;
  ASSIGN_OR_RETURN(const LogSlice slice, ReadLog(attempt_dir, begin, end - begin));
  int64_t position = static_cast<int64_t>(slice.data.size());
  // The newline at the end of the last line starts no other line.
  if (position > 0 && slice.data[position - 1] == '\n') --position;
  for (int line = 0; line < lines; ++line) {
    const size_t newline = position == 0 ? std::string::npos : slice.data.rfind('\n', position - 1);
    if (newline == std::string::npos) return slice.offset;
    position = static_cast<int64_t>(newline);
  }
  return slice.offset + position + 1;
}

}  // namespace trainerd::server
