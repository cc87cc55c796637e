// SPDX-License-Identifier: Apache-2.0
// One run of a local command that receives a notification on its standard input.
#pragma once

#include <string>
#include <vector>

#include "absl/time/time.h"

namespace trainerd::server {

// Runs argv[0], a path, without a shell; `input` is its standard input, and its output is dropped.
// After `timeout` it is killed with its process group: with its children, but for those that have
// left the group. Returns what went wrong; empty after exit code 0. Thread-safe.
std::string RunLocalCommand(const std::vector<std::string>& argv, const std::string& input,
                            absl::Duration timeout = absl::Seconds(60));

// Kills the commands that run now, with their process groups. For a signal handler before the
// process ends: async-signal-safe.
void KillLocalCommands();

}  // namespace trainerd::server
