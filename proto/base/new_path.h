// SPDX-License-Identifier: Apache-2.0
// A file or folder that appears complete or not at all, and never replaces what exists.
#pragma once

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace trainerd {

// The caller creates the file or folder temporary() and fsyncs its files; Publish gives it its
// name. The destructor removes it unless Publish succeeded; what a killed process leaves begins
// with ".tmp-". Not thread-safe.
class NewPath {
 public:
  // Creates the missing parents. Errors: AlreadyExists if something has the name `path`; those of
  // MakeDirectories.
  static absl::StatusOr<NewPath> Create(const std::string& path);
  NewPath(NewPath&& other) noexcept
      : path_(std::exchange(other.path_, "")), temporary_(std::exchange(other.temporary_, "")) {}
  NewPath& operator=(NewPath&&) = delete;
  ~NewPath();

  // In the folder of `path`; does not exist yet.
  const std::string& temporary() const { return temporary_; }
  // Renames, durably. Errors: as Create.
  absl::Status Publish();

 private:
  NewPath(std::string path, std::string temporary)
      : path_(std::move(path)), temporary_(std::move(temporary)) {}

  std::string path_;
  // "": published.
  std::string temporary_;
};

}  // namespace trainerd
