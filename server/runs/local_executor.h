// SPDX-License-Identifier: Apache-2.0
// Executor of this machine: one trainerd-shim per attempt, spawned in a session of its own so that
// it outlives the daemon, and controlled over its socket. The attempt directory has all state; a
// new daemon needs nothing else to find live attempts.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "server/runs/executor.h"
#include "server/runs/shim_reaper.h"

namespace trainerd::server {

class LocalExecutor : public Executor {
 public:
  // `shim_path` is the trainerd-shim program.
  explicit LocalExecutor(std::string shim_path);

  absl::Status Launch(const internal::AttemptSpec& spec) override;
  Observation Observe(const AttemptRef& attempt) override;
  absl::Status Signal(const AttemptRef& attempt, internal::RequestedAction action,
                      absl::Duration deadline) override;
  absl::Status KillByIdentity(const AttemptRef& attempt) override;
  std::vector<AttemptRef> ListOwned(const std::string& runs_dir) override;

 private:
  Observation ObserveWithoutRecord(const AttemptRef& attempt, const std::string& attempt_dir);
  // Writes an exit record for an attempt that no shim has taken, so that no shim can take it.
  static absl::Status FenceUnstarted(const std::string& attempt_dir);

  const std::string shim_path_;
  ShimReaper reaper_;
};

}  // namespace trainerd::server
