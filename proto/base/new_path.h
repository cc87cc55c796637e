// SPDX-License-Identifier: Apache-2.0
// A file or folder that appears complete or not at all, and never replaces what exists.
#pragma once

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/base/fd.h"

namespace trainerd {

// The caller creates the file or folder temporary() and fsyncs its files; Publish gives it its
// name. The destructor removes it unless Publish succeeded. What a killed process leaves begins
// with ".tmp-", and the next Create of the same path removes it. Not thread-safe.
class NewPath {
 public:
  // Creates the missing parents. Errors: AlreadyExists if something has the name `path`, or another
  // process is about to create it; those of MakeDirectories.
  static absl::StatusOr<NewPath> Create(const std::string& path);
  NewPath(NewPath&& other) noexcept
      : path_(std::exchange(other.path_, "")),
        temporary_(std::exchange(other.temporary_, "")),
        lock_path_(std::exchange(other.lock_path_, "")),
        lock_(std::move(other.lock_)) {}
  NewPath& operator=(NewPath&&) = delete;
  ~NewPath();

  // In the folder of `path`; does not exist yet. Further files and folders whose names begin with
  // it are removed as it is.
  const std::string& temporary() const { return temporary_; }
  // Renames, durably. Errors: as Create.
  absl::Status Publish();

 private:
  NewPath(std::string path, std::string temporary, std::string lock_path, Fd lock)
      : path_(std::move(path)),
        temporary_(std::move(temporary)),
        lock_path_(std::move(lock_path)),
        lock_(std::move(lock)) {}

  std::string path_;
  // "": published.
  std::string temporary_;
  // Locked as long as this object exists: what it creates is in use. "": moved from.
  std::string lock_path_;
  Fd lock_;
};

}  // namespace trainerd
