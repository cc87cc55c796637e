// SPDX-License-Identifier: Apache-2.0
// Runs a short-lived child with a deadline and bounded output.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace trainerd::server {

struct ChildOptions {
  std::vector<std::string> argv;  // argv[0] is the program's path
  absl::Duration timeout = absl::Seconds(30);
  size_t max_output_bytes = 16 << 20;
  // File contents that the child reads at /proc/self/fd/3 (a memory file), if not empty.
  std::string input;
};

struct ChildResult {
  int exit_code = 0;  // -1 when `signal` ended it
  int signal = 0;
  std::string out, err;
};

// Errors: NotFound (program), DeadlineExceeded (the child was killed), ResourceExhausted (too much
// output; killed), Internal (spawn).
absl::StatusOr<ChildResult> RunChild(const ChildOptions& options);

}  // namespace trainerd::server
