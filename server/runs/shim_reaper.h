// SPDX-License-Identifier: Apache-2.0
// Reaps the shims that this process spawned as soon as they exit, so that none stays a zombie until
// the next attempt.
#pragma once

#include <sys/types.h>

#include <map>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "proto/base/fd.h"

namespace trainerd::server {

// Thread-safe. Other children of the process are left alone.
class ShimReaper {
 public:
  struct Child {
    // 0: this process did not spawn a shim for the attempt.
    pid_t pid = 0;
    bool exited = false;
    // Of waitpid(2), once it has exited.
    int wait_status = 0;
  };

  ShimReaper();
  // Ends the thread. Shims keep running.
  ~ShimReaper();
  ShimReaper(const ShimReaper&) = delete;
  ShimReaper& operator=(const ShimReaper&) = delete;

  void Add(const std::string& attempt_dir, pid_t pid);
  // The state at this moment.
  Child Find(const std::string& attempt_dir);
  // The attempt has ended: its shim is still reaped, and then no longer kept.
  void Forget(const std::string& attempt_dir);

 private:
  struct Entry {
    Child child;
    bool forgotten = false;
  };
  void Loop();
  void ReapExited() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Those that have not exited, by attempt directory.
  std::map<std::string, pid_t> Running() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Wake();

  // eventfd(2); -1 if the kernel provides none. The thread then does not run, and Find reaps.
  const Fd wake_;
  absl::Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  // By attempt directory.
  std::map<std::string, Entry> entries_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace trainerd::server
