// SPDX-License-Identifier: Apache-2.0
// Shell scripts in place of the worker.
#pragma once

#include <functional>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "proto/base/atomic_file.h"

namespace trainerd::server {

// Writes an executable script with this body; returns its path.
inline std::string WriteWorkerScript(const std::string& path, const std::string& body) {
  EXPECT_TRUE(WriteFileAtomic(path, absl::StrCat("#!/bin/sh\n", body, "\n"), 0700).ok());
  return path;
}

// Waits up to 30 s for a condition.
inline bool WaitFor(const std::function<bool()>& condition) {
  const absl::Time give_up = absl::Now() + absl::Seconds(30);
  while (!condition()) {
    if (absl::Now() > give_up) return false;
    absl::SleepFor(absl::Milliseconds(2));
  }
  return true;
}

}  // namespace trainerd::server
