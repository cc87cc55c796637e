// SPDX-License-Identifier: Apache-2.0
// Returns freed memory to the system after a burst of large requests. glibc keeps small blocks in
// its arenas, between those that are still in use.
#pragma once

#include <atomic>
#include <thread>

#include "proto/base/process/wake_up.h"

namespace trainerd {

// Its thread compares the resident memory that no allocation uses with that after the last trim,
// every 2 s, and trims when it has grown by 1 MiB.
class HeapTrimmer {
 public:
  HeapTrimmer();
  ~HeapTrimmer();
  HeapTrimmer(const HeapTrimmer&) = delete;
  HeapTrimmer& operator=(const HeapTrimmer&) = delete;

 private:
  void Loop();

  std::atomic<bool> stopping_{false};
  WakeUp wake_up_;
  std::thread thread_;
};

}  // namespace trainerd
