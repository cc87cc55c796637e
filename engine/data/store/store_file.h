// SPDX-License-Identifier: Apache-2.0
// Bytes that are appended once and then read at any offset: a file that the caller opened; if that
// fails (no space, no permission, a size limit), an unnamed file in another folder, or else a
// bounded piece of memory. Readers need not know which.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"

namespace trainerd::engine {

// Thread-safety: one owner while it is written; ReadAt may be called from many threads.
class StoreFile {
 public:
  // Where bytes go if the current file cannot hold them.
  struct Fallback {
    std::string scratch_folder = "/tmp";  // an unnamed file there; "" = none
    int64_t memory_bytes = 64 << 20;      // at most so many; 0 = none
  };

  // Owns `fd`, an empty file that is open for reading and writing. `name` is for messages.
  static std::unique_ptr<StoreFile> Of(int fd, std::string name, Fallback fallback);
  // Owns `fd`, a file of `size` bytes that is only read.
  static std::unique_ptr<StoreFile> OfWhole(int fd, std::string name, int64_t size);
  // Begins at the fallback.
  static std::unique_ptr<StoreFile> Unnamed(Fallback fallback);
  ~StoreFile();
  StoreFile(const StoreFile&) = delete;
  StoreFile& operator=(const StoreFile&) = delete;

  // Buffered. Errors: those of the last location, with what to do.
  absl::Status Append(const void* data, size_t size);
  // Makes all bytes so far readable.
  absl::Status Flush();
  // Fills data[0, size). Errors: DataLoss beyond the end; those of reading.
  absl::Status ReadAt(int64_t offset, void* data, size_t size) const;
  int64_t size() const { return written_ + static_cast<int64_t>(buffer_.size()); }

  // Why the first location could not be used; OK = it holds everything.
  const absl::Status& moved() const { return moved_; }
  int fd() const { return fd_; }  // -1 = memory
  // Bytes on disk that no file name holds: they are free when this is destroyed.
  int64_t scratch_bytes() const { return place_ == Place::kScratch ? written_ : 0; }
  const std::string& name() const { return name_; }

 private:
  enum class Place { kGiven, kScratch, kMemory };
  StoreFile(int fd, std::string name, Fallback fallback);
  absl::Status Write(const char* data, size_t size);
  // Moves everything written so far to the next location. Returns `reason` if there is none.
  absl::Status Move(const absl::Status& reason);
  absl::Status MoveToScratch();
  absl::Status MoveToMemory(int64_t needed);

  int fd_;
  std::string name_;
  const Fallback fallback_;
  Place place_ = Place::kGiven;
  std::string memory_;
  std::string buffer_;
  int64_t written_ = 0;
  absl::Status moved_;
};

}  // namespace trainerd::engine
