// SPDX-License-Identifier: Apache-2.0
// The weights of a Hugging Face model folder: model.safetensors, or shards named by
// model.safetensors.index.json. Headers are read and checked at Open, bytes on demand. No LibTorch.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "engine/formats/safetensors.h"
#include "engine/model/model_config.h"

namespace trainerd::engine {

// Immutable after Open: any thread may read.
class HfFolder {
 public:
  // Errors: NotFound for a missing folder or missing weights (the message names the files, and how
  // to convert a folder that has only .bin files); DataLoss for a damaged file, an index that names
  // a missing file or tensor, or a tensor that is in two shards.
  static absl::StatusOr<std::unique_ptr<HfFolder>> Open(const std::string& folder);

  const std::string& folder() const { return folder_; }
  // nullptr when absent. The pointer lives as long as this object.
  const TensorInfo* Find(std::string_view name) const;
  // Bytes of `name` with exactly that shape. Errors: NotFound names tensor and folder;
  // InvalidArgument names file, tensor, and both shapes.
  absl::StatusOr<std::string_view> Bytes(std::string_view name,
                                         absl::Span<const int64_t> shape) const;
  void Release(std::string_view name) const;  // SafetensorsFile::Release of that tensor
  std::vector<std::string> Names() const;     // sorted
  int64_t total_bytes() const;                // of all tensors

  // Checks that every weight of `config` is there with its shape and a floating-point dtype, all
  // violations at once.
  absl::Status CheckComplete(const ModelConfig& config) const;

 private:
  struct Entry {
    const SafetensorsFile* file;
    const TensorInfo* info;
  };
  HfFolder() = default;
  absl::Status AddFile(std::unique_ptr<SafetensorsFile> file);

  std::string folder_;
  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  absl::flat_hash_map<std::string, Entry> entries_;
};

}  // namespace trainerd::engine
