// SPDX-License-Identifier: Apache-2.0
// The state directory: made with mode 0700, locked by one daemon at a time. The lock file names its
// holder.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace trainerd::server {

// Held until the process ends or the object is destroyed.
class StateDir {
 public:
  // Makes the folder and takes its lock. A holder that says it is leaving, or that is gone,
  // is waited for, at most `patience`. Errors: FailedPrecondition naming the process that holds it;
  // PermissionDenied or ResourceExhausted when it cannot be written.
  static absl::StatusOr<std::unique_ptr<StateDir>> Lock(const std::string& path,
                                                        absl::Duration patience);
  ~StateDir();
  StateDir(const StateDir&) = delete;
  StateDir& operator=(const StateDir&) = delete;

  const std::string& path() const { return path_; }
  std::string runs_dir() const { return path_ + "/runs"; }
  // The folder's path through its open descriptor: short, so that a unix socket in it fits in 107
  // bytes.
  std::string short_path() const;
  // Says in the lock file that this daemon is leaving, so that its successor waits instead of
  // refusing.
  void AnnounceShutdown();

 private:
  StateDir(std::string path, int folder_fd, int lock_fd)
      : path_(std::move(path)), folder_fd_(folder_fd), lock_fd_(lock_fd) {}

  const std::string path_;
  const int folder_fd_;
  const int lock_fd_;
};

}  // namespace trainerd::server
