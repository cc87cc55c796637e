// SPDX-License-Identifier: Apache-2.0
// What the daemon (or a signal) requests of the running job: atomics that the training loop reads
// once per microbatch.
#pragma once

#include <atomic>
#include <cstdint>

namespace trainerd::engine {

// Later values are more severe. The stop mode only escalates (T2).
enum class StopMode : int { kNone = 0, kPause = 1, kStop = 2, kDiscard = 3 };

// Thread-safe: any thread may request, the training loop reads.
class RunControl {
 public:
  // Raises the stop mode; a request that is less severe changes nothing.
  void RequestStop(StopMode stop_mode) {
    int current = stop_mode_.load(std::memory_order_relaxed);
    while (current < static_cast<int>(stop_mode) &&
           !stop_mode_.compare_exchange_weak(current, static_cast<int>(stop_mode))) {
    }
  }
  // Requests a checkpoint at the end of the step; training continues.
  void RequestCheckpoint() { checkpoint_requests_.fetch_add(1); }

  StopMode stop_mode() const {
    return static_cast<StopMode>(stop_mode_.load(std::memory_order_acquire));
  }
  // Whether a checkpoint was requested since the last call.
  bool TakeCheckpointRequest() { return checkpoint_requests_.exchange(0) > 0; }

 private:
  std::atomic<int> stop_mode_{0};
  std::atomic<int64_t> checkpoint_requests_{0};
};

}  // namespace trainerd::engine
