// SPDX-License-Identifier: Apache-2.0
// `trainerd-worker train`: a job in the foreground, without a daemon. Ctrl-C stops it gracefully;
// run again it continues.
#pragma once

#include <string>
#include <vector>

#include "engine/core/run_options.h"

namespace trainerd::engine {

struct TrainOptions {
  std::string job_path;  // YAML
  std::string run_dir;
  std::string events_path;        // JSON lines are appended here; "-" = stdout; "" = none
  std::vector<std::string> sets;  // dotted.path=value
  std::string home_dir;           // JobFileOptions::home_dir
  RunOptions run;
};

// Exit code: 0 done, 1 the job failed, 2 invalid configuration, 3 stopped.
int RunTrainCommand(TrainOptions options);

}  // namespace trainerd::engine
