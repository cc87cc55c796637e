// SPDX-License-Identifier: Apache-2.0
// Tensors of a model folder that no step reads or changes: the vision part of a vision-language
// model. Model files get their bytes from the files of the folder, so that they take no memory. No
// LibTorch.
#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/formats/safetensors.h"
#include "engine/model/folder/hf_folder.h"
#include "proto/base/fd.h"

namespace trainerd::engine {

// Immutable after Open; thread-safe.
class KeptTensors {
 public:
  // The vision part of `weights`, if the model has one. Keeps its files open, so it can be read
  // after they are deleted. Errors: those of open(2), with the path.
  static absl::StatusOr<std::shared_ptr<const KeptTensors>> Open(const HfFolder& weights);

  // With the names of the files, sorted.
  const std::vector<TensorInfo>& tensors() const { return tensors_; }
  // Appends the bytes of tensors()[index]. Errors: those of SafetensorsWriter;
  // FailedPrecondition if the file was changed since Open.
  absl::Status Append(size_t index, SafetensorsWriter& writer) const;

 private:
  struct File {
    std::string path;
    Fd fd;
    struct stat opened = {};
  };

  std::vector<File> files_;
  std::vector<TensorInfo> tensors_;
  // Of each tensor.
  std::vector<size_t> file_of_;
};

}  // namespace trainerd::engine
