// SPDX-License-Identifier: Apache-2.0
#include "proto/base/process/wake_up.h"

#include <algorithm>
#include <chrono>

namespace trainerd {
namespace {

// Keeps the arithmetic of the standard library from an overflow.
constexpr absl::Duration kMaxSleep = absl::Hours(24);

}  // namespace

void WakeUp::Wake() {
  {
    std::lock_guard lock(mutex_);
    woken_ = true;
  }
  changed_.notify_one();
}

void WakeUp::SleepFor(absl::Duration time) {
  const auto span = absl::ToChronoNanoseconds(std::clamp(time, absl::ZeroDuration(), kMaxSleep));
  std::unique_lock lock(mutex_);
  changed_.wait_until(lock, std::chrono::steady_clock::now() + span, [this] { return woken_; });
  woken_ = false;
}

}  // namespace trainerd
