// SPDX-License-Identifier: Apache-2.0
// Executor of this machine: one trainerd-shim per attempt, spawned in a session of its own so that
// it outlives the daemon, and controlled over its socket. The attempt directory has all state; a
// new daemon needs nothing else to find live attempts.
#pragma once

#include <sys/types.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "server/runs/executor.h"

namespace trainerd::server {

class LocalExecutor : public Executor {
 public:
  // `shim_path` is the trainerd-shim program.
  explicit LocalExecutor(std::string shim_path);

  absl::Status Launch(const internal::AttemptSpec& spec) override;
  Observation Observe(const AttemptRef& attempt) override;
  absl::Status Signal(const AttemptRef& attempt, internal::RequestedAction action,
                      absl::Duration deadline) override;
  absl::Status Shutdown(const AttemptRef& attempt) override;
  absl::Status KillByIdentity(const AttemptRef& attempt) override;
  std::vector<AttemptRef> ListOwned(const std::string& runs_dir) override;

 private:
  // A shim that this process spawned.
  struct Child {
    pid_t pid = 0;
    bool exited = false;
    int wait_status = 0;
  };
  // Reaps the shims that have exited and returns the one of the attempt directory; pid 0 when this
  // process did not spawn it.
  Child Reap(const std::string& attempt_dir) ABSL_LOCKS_EXCLUDED(mutex_);
  Observation ObserveWithoutRecord(const AttemptRef& attempt, const std::string& attempt_dir);
  // Writes an exit record for an attempt that no shim has taken, so that no shim can take it.
  static absl::Status FenceUnstarted(const std::string& attempt_dir);

  const std::string shim_path_;
  absl::Mutex mutex_;
  // By attempt directory.
  std::map<std::string, Child> children_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace trainerd::server
