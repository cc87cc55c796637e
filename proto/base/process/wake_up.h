// SPDX-License-Identifier: Apache-2.0
// Lets one thread sleep until another one wakes it or a time has passed on the monotonic clock.
// Threads of the daemon use it instead of the timed waits of absl::Mutex: those follow the system's
// clock, and sleep for a day longer when it is set back by a day.
#pragma once

#include <condition_variable>
#include <mutex>

#include "absl/time/time.h"

namespace trainerd {

// Thread-safety: Wake may be called from any thread; one thread sleeps.
class WakeUp {
 public:
  // Ends the sleep in progress, or the next one at once. Change what the sleeper checks before.
  void Wake();
  // Returns after `time`, or earlier if Wake was called since the last return.
  void SleepFor(absl::Duration time);

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool woken_ = false;
};

}  // namespace trainerd
