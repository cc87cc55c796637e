// SPDX-License-Identifier: Apache-2.0
// The bytes of a file; gzip and zstd files are unpacked. The first bytes of the file decide the
// kind, not its name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace trainerd::engine {

// Thread-safety: one owner at a time.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // Up to `size` (> 0) further bytes into `buffer`; 0 = the end.
  // Errors: InvalidArgument for a damaged or truncated archive; those of reading.
  virtual absl::StatusOr<size_t> Read(char* buffer, size_t size) = 0;
  virtual bool compressed() const = 0;
  // Size of the file on disk, and how much of it has been read.
  virtual int64_t size_bytes() const = 0;
  virtual int64_t bytes_read() const = 0;
};

// Errors: NotFound; InvalidArgument for what is not a regular file; PermissionDenied; each with
// path and what to do.
absl::StatusOr<std::unique_ptr<ByteSource>> OpenByteSource(const std::string& path);

}  // namespace trainerd::engine
