// SPDX-License-Identifier: Apache-2.0
#include "engine/data/store/store_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "proto/base/atomic_file.h"
#include "proto/base/format.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

constexpr size_t kBufferBytes = 1 << 20;

absl::Status WriteAt(int fd, int64_t offset, const char* data, size_t size,
                     const std::string& name) {
  while (size > 0) {
    const ssize_t count = pwrite(fd, data, size, offset);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return ErrnoStatus(errno, absl::StrCat("write ", name));
    data += count;
    size -= static_cast<size_t>(count);
    offset += count;
  }
  return absl::OkStatus();
}

// A file without a name: nothing is left when the process ends.
int OpenUnnamed(const std::string& folder) {
  const int fd = open(folder.c_str(), O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
  if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)) return fd;
  // A file system without O_TMPFILE.
  std::string path = folder + "/.trainerd-rows-XXXXXX";
  const int named = mkostemp(path.data(), O_CLOEXEC);
  if (named >= 0) unlink(path.c_str());
  return named;
}

}  // namespace

StoreFile::StoreFile(int fd, std::string name, Fallback fallback)
    : fd_(fd), name_(std::move(name)), fallback_(std::move(fallback)) {}

std::unique_ptr<StoreFile> StoreFile::Of(int fd, std::string name, Fallback fallback) {
  return std::unique_ptr<StoreFile>(new StoreFile(fd, std::move(name), std::move(fallback)));
}

std::unique_ptr<StoreFile> StoreFile::OfWhole(int fd, std::string name, int64_t size) {
  auto file = Of(fd, std::move(name), Fallback{});
  file->written_ = size;
  return file;
}

std::unique_ptr<StoreFile> StoreFile::Unnamed(Fallback fallback) {
  auto file = Of(-1, "token store", std::move(fallback));
  file->place_ = Place::kScratch;
  if (file->MoveToScratch().ok()) return file;
  file->place_ = Place::kMemory;
  return file;
}

StoreFile::~StoreFile() {
  if (fd_ >= 0) close(fd_);
}

absl::Status StoreFile::MoveToScratch() {
  if (fallback_.scratch_folder.empty()) return absl::NotFoundError("no scratch folder");
  const int fd = OpenUnnamed(fallback_.scratch_folder);
  const std::string name = absl::StrCat("an unnamed file in ", fallback_.scratch_folder);
  if (fd < 0) return ErrnoStatus(errno, absl::StrCat("create ", name));
  std::vector<char> block(static_cast<size_t>(std::min<int64_t>(written_, kBufferBytes)));
  absl::Status status;
  for (int64_t at = 0; at < written_ && status.ok();) {
    const size_t count =
        static_cast<size_t>(std::min<int64_t>(static_cast<int64_t>(block.size()), written_ - at));
    status = ReadAt(at, block.data(), count);
    if (status.ok()) status = WriteAt(fd, at, block.data(), count, name);
    at += static_cast<int64_t>(count);
  }
  if (!status.ok()) {
    close(fd);
    return status;
  }
  if (fd_ >= 0) close(fd_);
  fd_ = fd;
  name_ = name;
  return absl::OkStatus();
}

absl::Status StoreFile::MoveToMemory(int64_t needed) {
  if (needed > fallback_.memory_bytes) {
    return absl::ResourceExhaustedError("more than fits into memory");
  }
  std::string bytes(static_cast<size_t>(written_), '\0');
  RETURN_IF_ERROR(ReadAt(0, bytes.data(), bytes.size()));
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
  memory_ = std::move(bytes);
  name_ = "token store in memory";
  return absl::OkStatus();
}

absl::Status StoreFile::Move(const absl::Status& reason) {
  if (moved_.ok()) moved_ = reason;
  if (place_ == Place::kGiven) {
    place_ = Place::kScratch;
    if (MoveToScratch().ok()) return absl::OkStatus();
  }
  if (place_ == Place::kScratch) {
    place_ = Place::kMemory;
    if (MoveToMemory(size()).ok()) return absl::OkStatus();
  }
  return absl::ResourceExhaustedError(
      absl::StrCat("no space for the tokens (", FormatBytes(size()), " so far): ", reason.message(),
                   "; free space in the run directory or in the cache folder, or use less data"));
}

absl::Status StoreFile::Write(const char* data, size_t size) {
  for (;;) {
    if (fd_ < 0) {
      if (this->size() > fallback_.memory_bytes) {
        return Move(absl::ResourceExhaustedError("they do not fit into memory"));
      }
      memory_.append(data, size);
      break;
    }
    const absl::Status status = WriteAt(fd_, written_, data, size, name_);
    if (status.ok()) break;
    RETURN_IF_ERROR(Move(status));
  }
  written_ += static_cast<int64_t>(size);
  return absl::OkStatus();
}

absl::Status StoreFile::Append(const void* data, size_t size) {
  buffer_.append(static_cast<const char*>(data), size);
  return buffer_.size() >= kBufferBytes ? Flush() : absl::OkStatus();
}

absl::Status StoreFile::Flush() {
  if (buffer_.empty()) return absl::OkStatus();
  const absl::Status status = Write(buffer_.data(), buffer_.size());
  buffer_.clear();
  return status;
}

absl::Status StoreFile::ReadAt(int64_t offset, void* data, size_t size) const {
  if (fd_ < 0) {
    if (offset < 0 || size > memory_.size() ||
        static_cast<uint64_t>(offset) > memory_.size() - size) {
      return absl::DataLossError(absl::StrCat(name_, ": read beyond its end"));
    }
    std::memcpy(data, memory_.data() + offset, size);
    return absl::OkStatus();
  }
  char* out = static_cast<char*>(data);
  while (size > 0) {
    const ssize_t count = pread(fd_, out, size, offset);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return ErrnoStatus(errno, absl::StrCat("read ", name_));
    if (count == 0) return absl::DataLossError(absl::StrCat(name_, ": is truncated"));
    out += count;
    size -= static_cast<size_t>(count);
    offset += count;
  }
  return absl::OkStatus();
}

}  // namespace trainerd::engine
