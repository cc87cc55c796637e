// SPDX-License-Identifier: Apache-2.0
// Supervises one attempt: claims it, starts the worker, captures its log, delivers requested
// actions, escalates when a deadline expires, and exits once exit.rec is durable. One thread, one
// poll loop. README.md of this folder lists what it survives.
#pragma once

#include <string>

namespace trainerd::server {

// Exit codes of trainerd-shim.

// exit.rec has the worker's end.
inline constexpr int kShimDone = 0;
// No worker was started. exit.rec has the reason, if it could be written.
inline constexpr int kShimFailed = 1;
// Another shim owns the attempt, or it was started before. Nothing was changed.
inline constexpr int kShimNotOurs = 3;

// Supervises the attempt until it has ended. Blocks SIGTERM, SIGINT and SIGCHLD in the calling
// thread, and ignores SIGHUP and SIGPIPE.
int RunShim(const std::string& attempt_dir);

}  // namespace trainerd::server
