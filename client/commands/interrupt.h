// SPDX-License-Identifier: Apache-2.0
// Ctrl-C while something is watched or waited for: the program leaves in order, the job goes on.
#pragma once

#include <signal.h>

namespace trainerd::client {

// While it lives, the first SIGINT or SIGTERM sets a flag; a second one ends the process as usual.
// One at a time.
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
