// SPDX-License-Identifier: Apache-2.0
// The inspections of SubmitJob(validate_only): each is a child process, so their number is limited.
#pragma once

#include <atomic>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "trainerd/v1/event.pb.h"

namespace trainerd::server {

// Thread-safety: all methods may be called from any thread.
class Inspections {
 public:
  struct Options {
    // The program trainerd-inspect.
    std::string program;
    // The folder on whose disk a job must fit.
    std::string runs_dir;
    absl::Duration timeout = absl::Seconds(30);
    // Children at once; 0 = 2 for each core.
    int max_children = 0;
  };
  explicit Inspections(Options options);

  // The quick report of a job file, given as text with absolute paths. `is_cancelled` (null =
  // never) is called every 0.1 s; true ends the child. Errors: of RunValidate; ResourceExhausted
  // with reason INSPECTIONS and a retry delay; DeadlineExceeded with reason INSPECTION_TIME;
  // Unavailable once the daemon drains.
  absl::StatusOr<v1::DataReport> Run(const std::string& config_yaml,
                                     const std::function<bool()>& is_cancelled);
  // Ends all children, now and from now on.
  void Drain() { draining_ = true; }

 private:
  const Options options_;
  const int max_children_;
  std::atomic<int> children_{0};
  std::atomic<bool> draining_{false};
};

}  // namespace trainerd::server
