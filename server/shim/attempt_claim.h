// SPDX-License-Identifier: Apache-2.0
// Whether this shim may start its attempt: at most one shim ever owns an attempt directory, and at
// most one attempt lives in a run directory.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "trainerd/internal/worker.pb.h"

namespace trainerd::server {

// Holds the two locks; they are free again when this and all inherited copies of run.lock are gone.
class AttemptClaim {
 public:
  enum class Verdict {
    // Ours: start the worker.
    kTaken,
    // Another shim owns it, or it was started before: leave and touch nothing.
    kNotOurs,
    // Ours to refuse: write exit.rec with `why` and leave.
    kRefused,
  };
  AttemptClaim() = default;
  ~AttemptClaim();
  AttemptClaim(const AttemptClaim&) = delete;
  AttemptClaim& operator=(const AttemptClaim&) = delete;

  // Takes attempts/N/shim.lock, then checks that the attempt was never started and that `publisher`
  // names it, then takes run.lock. The last one is tried for `patience`, because an attempt that
  // has just ended and probes of the daemon hold it for moments.
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
