// SPDX-License-Identifier: Apache-2.0
// Identity of a process: (pid, start time, boot id). A zombie is not alive.
#pragma once

#include <sys/types.h>

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "trainerd/internal/worker.pb.h"

namespace trainerd {

// Identity of this boot of the machine; "" if the kernel does not provide one.
std::string BootId();
// Identity of the process that has `pid` now. A zombie has one too. Errors: NotFound.
absl::StatusOr<internal::ProcessId> IdentifyProcess(pid_t pid);
// True only if exactly this process exists and is not a zombie.
bool IsAlive(const internal::ProcessId& id);
// Sends `signal` to exactly this process: through a pidfd, so a reused pid is never hit. On a
// kernel without pidfd, checks the identity immediately before kill(2). Errors: NotFound if the
// process is not alive.
absl::Status KillProcess(const internal::ProcessId& id, int signal);

}  // namespace trainerd
