// SPDX-License-Identifier: Apache-2.0
// How much time monitoring itself takes.
#pragma once

#include <chrono>

#include "proto/base/time.h"

namespace trainerd::engine {

// Adds up seconds until they are taken. Thread-safety: one owner at a time.
class OverheadMeter {
 public:
  void Add(double seconds) { seconds_ += seconds; }
  // The seconds since the last call.
  double Take() {
    const double taken = seconds_;
    seconds_ = 0;
    return taken;
  }

 private:
  double seconds_ = 0;
};

// Measures its own lifetime into a meter.
class ScopedOverhead {
 public:
  explicit ScopedOverhead(OverheadMeter& meter)
      : meter_(meter), start_(std::chrono::steady_clock::now()) {}
  ~ScopedOverhead() { meter_.Add(SecondsSince(start_)); }
  ScopedOverhead(const ScopedOverhead&) = delete;
  ScopedOverhead& operator=(const ScopedOverhead&) = delete;

 private:
  OverheadMeter& meter_;
  std::chrono::steady_clock::time_point start_;
};

}  // namespace trainerd::engine
