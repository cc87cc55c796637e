// SPDX-License-Identifier: Apache-2.0
// Whether this shim may start its attempt: at most one shim ever owns an attempt directory, and at
// most one attempt lives in a run directory.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "trainerd/internal/worker.pb.h"

namespace trainerd::server {

// Owns both locks. run.lock stays held until this and every inherited copy of its descriptor are
// closed.
class AttemptClaim {
 public:
  enum class Verdict {
    // This shim owns the attempt: start the worker.
    kTaken,
    // Another shim owns the attempt, or it was started before: exit and change nothing.
    kNotOurs,
    // This shim owns the attempt and must not start it: write exit.rec with `why` and exit.
    kRefused,
  };
  AttemptClaim() = default;
  ~AttemptClaim();
  AttemptClaim(const AttemptClaim&) = delete;
  AttemptClaim& operator=(const AttemptClaim&) = delete;

  // Takes attempts/N/shim.lock, checks that the attempt was never started and that `publisher`
  // names it, then takes run.lock. Waits up to `patience` for run.lock, because an attempt that has
  // just ended and checks by the daemon hold it for a moment.
  Verdict Take(const std::string& attempt_dir, absl::Duration patience);

  const internal::AttemptSpec& spec() const { return spec_; }
  int run_lock_fd() const { return run_lock_fd_; }
  // Reason of kNotOurs and kRefused.
  const std::string& why() const { return why_; }

 private:
  Verdict Refuse(std::string why);

  internal::AttemptSpec spec_;
  std::string why_;
  int shim_lock_fd_ = -1;
  int run_lock_fd_ = -1;
};

}  // namespace trainerd::server
