// SPDX-License-Identifier: Apache-2.0
// GGUF files, versions 2 and 3, little-endian: a memory-mapped reader that checks all bounds,
// because files are untrusted. No LibTorch.
//
// Format: "GGUF", u32 version, u64 count of tensors, u64 count of metadata entries, the entries
// (key, u32 type, value), the tensors (name, u32 count of dimensions, u64 dimensions with the
// innermost first, u32 type, u64 offset), then the data. Texts and lists have a u64 length. Offsets
// count from the start of the data; it and each tensor begin at a multiple of "general.alignment".
// Source: the GGUF specification (ggml, docs/gguf.md).
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/formats/gguf/gguf_type.h"
#include "engine/formats/gguf/gguf_value.h"

namespace trainerd::engine {

struct GgufTensor {
  std::string name;
  GgufType type = GgufType::kF32;
  // Row-major, outermost dimension first, as in safetensors.
  std::vector<int64_t> shape;
  // From the start of the file.
  int64_t offset = 0;
  int64_t size_bytes = 0;

  int64_t num_elements() const;
};

// One mapped file. Immutable after Open; thread-safe.
class GgufFile {
 public:
  // Errors: NotFound; DataLoss, with the file and the tensor or key, for a placeholder
  // (placeholder_file.h), a truncated file or invalid contents; Unimplemented for another version,
  // byte order or tensor type.
  static absl::StatusOr<std::unique_ptr<GgufFile>> Open(const std::string& path);
  ~GgufFile();
  GgufFile(const GgufFile&) = delete;
  GgufFile& operator=(const GgufFile&) = delete;

  const std::string& path() const { return path_; }
  // Its views are valid as long as this object.
  const GgufMetadata& metadata() const { return metadata_; }
  // In the order of their data.
  const std::vector<GgufTensor>& tensors() const { return tensors_; }
  // nullptr if absent.
  const GgufTensor* Find(std::string_view name) const;
  // The tensor's bytes, inside the mapping. `tensor` must be one of tensors().
  std::string_view Bytes(const GgufTensor& tensor) const;
  // As SafetensorsFile::Release.
  void Release(const GgufTensor& tensor) const;

 private:
  GgufFile() = default;
  absl::Status Parse();
  absl::Status PlaceTensors(int64_t header_size);

  std::string path_;
  const char* data_ = nullptr;
  size_t size_ = 0;
  GgufMetadata metadata_;
  std::vector<GgufTensor> tensors_;
  std::map<std::string, size_t, std::less<>> by_name_;
};

}  // namespace trainerd::engine
