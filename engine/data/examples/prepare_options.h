// SPDX-License-Identifier: Apache-2.0
// How data is read, for all steps from file to examples. No option changes the result.
#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"

namespace trainerd::engine {

// Receives the fraction done (0..1) from time to time. If it returns an error, for example because
// the job is being stopped, the work ends with that error.
using PrepareProgress = std::function<absl::Status(double)>;

struct PrepareOptions {
  // Threads that parse and tokenize; 0 = one per CPU, at most 8.
  int num_threads = 0;
  // For validate: an error becomes a finding with error = true, and reading continues.
  bool keep_going = false;
  // See token_cache.h; "" = no cache.
  std::string cache_folder;
  // For an unnamed file with the examples if no cache stores them.
  std::string scratch_folder = "/tmp";
};

}  // namespace trainerd::engine
