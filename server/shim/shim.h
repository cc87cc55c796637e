// SPDX-License-Identifier: Apache-2.0
// One attempt's guardian: claims the attempt, starts the worker, captures its log, passes on what
// is wanted, uses force when the grace is over, and leaves once exit.rec is durable. One thread,
// one poll loop. See README.md of this folder for what it survives.
#pragma once

#include <string>

namespace trainerd::server {

// Exit codes of trainerd-shim.
inline constexpr int kShimDone = 0;  // the worker's end is in exit.rec
inline constexpr int kShimFailed =
    1;  // no worker was started; exit.rec says why if it could be written
inline constexpr int kShimNotOurs =
    3;  // another shim owns the attempt, or it was started before: nothing was touched

// Runs the attempt to its end. Blocks SIGTERM, SIGINT, SIGHUP and SIGCHLD in the calling thread.
int RunShim(const std::string& attempt_dir);

}  // namespace trainerd::server
