// SPDX-License-Identifier: Apache-2.0
// `trainerd-worker attempt`, which the shim starts. Events go to the spool, human-readable lines to
// stdout (the log), the result to worker_exit.rec.
#pragma once

#include <string>

#include "engine/core/run_options.h"

namespace trainerd::engine {

struct AttemptOptions {
  std::string attempt_dir;  // holds spec.pb
  int control_fd = -1;      // socket of the shim
  RunOptions run;
};

// Exit code: 0 the record is durable and says how the attempt ended; 1 the attempt failed, or not
// even the record could be written.
int RunAttemptCommand(const AttemptOptions& options);

}  // namespace trainerd::engine
