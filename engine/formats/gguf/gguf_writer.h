// SPDX-License-Identifier: Apache-2.0
// Writes GGUF files, version 3, as a stream. No LibTorch. The format: gguf_file.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "engine/formats/gguf/gguf_type.h"
#include "proto/base/fd.h"

namespace trainerd::engine {

// Metadata entries in the order of the file. Keys must differ.
class GgufEntries {
 public:
  void AddUint32(std::string_view key, int64_t value);
  void AddFloat32(std::string_view key, double value);
  void AddBool(std::string_view key, bool value);
  void AddText(std::string_view key, std::string_view value);
  void AddTexts(std::string_view key, absl::Span<const std::string> values);
  void AddInt32s(std::string_view key, absl::Span<const int32_t> values);
  void AddFloat32s(std::string_view key, absl::Span<const float> values);

  int64_t count() const { return count_; }
  const std::string& bytes() const { return bytes_; }

 private:
  void AddKey(std::string_view key, uint32_t type);

  int64_t count_ = 0;
  std::string bytes_;
};

// Not thread-safe.
class GgufWriter {
 public:
  struct Declared {
    std::string name;
    GgufType type = GgufType::kF32;
    // Outermost dimension first.
    std::vector<int64_t> shape;
  };

  // Creates `path`, which must not exist, and writes the header. Errors: AlreadyExists,
  // ResourceExhausted (disk full), PermissionDenied, each with the path.
  static absl::StatusOr<std::unique_ptr<GgufWriter>> Create(const std::string& path,
                                                            const GgufEntries& entries,
                                                            std::vector<Declared> tensors);
  GgufWriter(const GgufWriter&) = delete;
  GgufWriter& operator=(const GgufWriter&) = delete;

  // Appends bytes of the first tensor that is not complete, which must not have fewer. Errors: as
  // Create.
  absl::Status Append(std::string_view bytes);
  // Checks that every tensor is complete, fsyncs and closes.
  absl::Status Finish();

 private:
  GgufWriter() = default;
  absl::Status Write(std::string_view bytes);

  std::string path_;
  Fd fd_;
  std::vector<Declared> tensors_;
  // The first tensor that is not complete, and its bytes that are written.
  size_t current_ = 0;
  int64_t current_bytes_ = 0;
};

}  // namespace trainerd::engine
