// SPDX-License-Identifier: Apache-2.0
// Ctrl-C while trainctl watches or waits: trainctl exits cleanly, and the job keeps running.
#pragma once

#include <signal.h>

namespace trainerd::client {

// During its lifetime the first SIGINT or SIGTERM sets a flag; a second one ends the process as
// usual. Only one instance at a time.
class InterruptScope {
 public:
  InterruptScope();
  ~InterruptScope();
  InterruptScope(const InterruptScope&) = delete;
  InterruptScope& operator=(const InterruptScope&) = delete;
  bool requested() const;

 private:
  struct sigaction old_interrupt_ = {};
  struct sigaction old_terminate_ = {};
};

}  // namespace trainerd::client
