// SPDX-License-Identifier: Apache-2.0
// safetensors files: a memory-mapped reader that checks all bounds, because files are untrusted,
// and a streaming writer that hashes the file. No LibTorch.
//
// Format: u64 little-endian header length, JSON header {"name": {"dtype", "shape", "data_offsets":
// [begin, end]}, "__metadata__": {…}}, then the data, row-major, without holes. Offsets count from
// the end of the header. Source: github.com/huggingface/safetensors, README "Format".
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "proto/base/fd.h"
#include "proto/base/hash.h"

namespace trainerd::engine {

enum class StoredDtype {
  kFloat32,
  kFloat16,
  kBFloat16,
  kFloat64,
  kInt64,
  kInt32,
  kInt16,
  kInt8,
  kUInt8,
  kBool,
  kUInt64,
  kUInt32,
  kUInt16,
  kFloat8E4M3,
  kFloat8E5M2
};

// Bytes of one element.
int64_t SizeOf(StoredDtype dtype);

// F32, BF16 or F16: the dtypes of weights that are read.
inline bool IsWeightDtype(StoredDtype dtype) {
  return dtype == StoredDtype::kFloat32 || dtype == StoredDtype::kBFloat16 ||
         dtype == StoredDtype::kFloat16;
}

// The format's spelling: "F32", "BF16", …
std::string_view DtypeName(StoredDtype dtype);

struct TensorInfo {
  std::string name;
  StoredDtype dtype = StoredDtype::kFloat32;
  std::vector<int64_t> shape;
  // From the start of the file.
  int64_t offset = 0;
  // Element count × SizeOf(dtype).
  int64_t size_bytes = 0;
};

// "[2, 3]".
std::string ShapeText(absl::Span<const int64_t> shape);

// One mapped file. Immutable after Open; thread-safe.
class SafetensorsFile {
 public:
  // Errors: NotFound; DataLoss, with file and tensor, for a placeholder (placeholder_file.h), a
  // truncated file or an invalid header (not JSON, wrong length, offsets beyond the file, overlap
  // or hole, size that does not fit shape and dtype, unknown dtype, duplicate name).
  static absl::StatusOr<std::unique_ptr<SafetensorsFile>> Open(const std::string& path);
  ~SafetensorsFile();
  SafetensorsFile(const SafetensorsFile&) = delete;
  SafetensorsFile& operator=(const SafetensorsFile&) = delete;

  const std::string& path() const { return path_; }
  // In file order.
  const std::vector<TensorInfo>& tensors() const { return tensors_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  // nullptr if absent.
  const TensorInfo* Find(std::string_view name) const;
  // The tensor's bytes, inside the mapping. `info` must be one of tensors().
  std::string_view Bytes(const TensorInfo& info) const;
  // The same by name. Errors: NotFound names file and tensor.
  absl::StatusOr<std::string_view> Bytes(std::string_view name) const;
  // Lets the kernel drop the tensor's pages, which keeps the process small while it loads.
  void Release(const TensorInfo& info) const;

 private:
  SafetensorsFile() = default;
  absl::Status ParseHeader();

  std::string path_;
  const char* data_ = nullptr;
  size_t size_ = 0;
  std::vector<TensorInfo> tensors_;
  std::map<std::string, size_t, std::less<>> by_name_;
  std::map<std::string, std::string> metadata_;
};

// Writes one file: the header of the declared tensors, then their bytes in the same order. The data
// begins at a multiple of 64 bytes; if wide dtypes are declared first, every tensor is aligned to
// its element size. Not thread-safe.
class SafetensorsWriter {
 public:
  struct Declared {
    std::string name;
    StoredDtype dtype = StoredDtype::kFloat32;
    std::vector<int64_t> shape;
  };
  struct Result {
    int64_t size_bytes = 0;
    // 16 bytes, of the whole file.
    std::string xxh3;
  };

  // Bytes of the file that Create writes for these tensors without further metadata.
  static int64_t FileBytes(const std::vector<Declared>& tensors);

  // Creates `path`, which must not exist, and writes the header. Adds {"format": "pt"} to
  // `metadata`. Errors: AlreadyExists, ResourceExhausted (disk full), PermissionDenied, each with
  // the path.
  static absl::StatusOr<std::unique_ptr<SafetensorsWriter>> Create(
      const std::string& path, std::vector<Declared> tensors,
      std::map<std::string, std::string> metadata = {});
  SafetensorsWriter(const SafetensorsWriter&) = delete;
  SafetensorsWriter& operator=(const SafetensorsWriter&) = delete;

  // Appends bytes of the data section; calls need not match the tensors' boundaries. Errors:
  // ResourceExhausted names the file, the bytes written and the bytes of the whole file.
  absl::Status Append(const void* data, size_t size);
  // Checks that every declared byte was written, fsyncs and closes.
  absl::StatusOr<Result> Finish();

 private:
  SafetensorsWriter() = default;

  std::string path_;
  Fd fd_;
  // Header and data.
  int64_t expected_bytes_ = 0;
  int64_t written_bytes_ = 0;
  Xxh3Stream hash_;
};

}  // namespace trainerd::engine
