// SPDX-License-Identifier: Apache-2.0
// The state directory: created with mode 0700, locked by one daemon at a time. The lock file names
// its holder.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace trainerd::server {

// Held until the process ends or the object is destroyed.
class StateDir {
 public:
  // Creates the folder and takes its lock. Waits at most `patience` for a holder that is shutting
  // down or has exited. Errors: FailedPrecondition with the pid of the holder, or when another user
  // owns the folder; PermissionDenied or ResourceExhausted when the folder cannot be written.
  static absl::StatusOr<std::unique_ptr<StateDir>> Lock(const std::string& path,
                                                        absl::Duration patience);
  ~StateDir();
  StateDir(const StateDir&) = delete;
  StateDir& operator=(const StateDir&) = delete;

  const std::string& path() const { return path_; }
  std::string runs_dir() const { return path_ + "/runs"; }
  // Marks this daemon as shutting down in the lock file, so that its successor waits for it.
  void AnnounceShutdown();

 private:
  StateDir(std::string path, int folder_fd, int lock_fd)
      : path_(std::move(path)), folder_fd_(folder_fd), lock_fd_(lock_fd) {}

  const std::string path_;
  const int folder_fd_;
  const int lock_fd_;
};

}  // namespace trainerd::server
