// SPDX-License-Identifier: Apache-2.0
// Waits until a watched attempt directory changes (inotify) or another thread wakes it (eventfd).
// Notifications can be lost or spurious, so the caller reads spools and records after every wake-up
// and after every timeout.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace trainerd::server {

// Thread-safety: Add, Remove and Wake from any thread; Wait from one thread.
class SpoolWatcher {
 public:
  static absl::StatusOr<std::unique_ptr<SpoolWatcher>> Create();
  ~SpoolWatcher();
  SpoolWatcher(const SpoolWatcher&) = delete;
  SpoolWatcher& operator=(const SpoolWatcher&) = delete;

  // Watches `dir` for writes to its files and for new names. Adding a directory twice has no
  // effect.
  absl::Status Add(const std::string& dir);
  void Remove(const std::string& dir);
  // True when a directory changed or Wake was called since the last Wait; false after `timeout`.
  bool Wait(absl::Duration timeout);
  void Wake();

 private:
  SpoolWatcher(int inotify_fd, int event_fd) : inotify_fd_(inotify_fd), event_fd_(event_fd) {}

  const int inotify_fd_;
  const int event_fd_;
  absl::Mutex mutex_;
  std::map<std::string, int> watches_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace trainerd::server
