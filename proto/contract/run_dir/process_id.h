// SPDX-License-Identifier: Apache-2.0
// Identity of a process: (pid, start time, boot id). A zombie is not alive.
#pragma once

#include <sys/types.h>

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "trainerd/internal/worker.pb.h"

namespace trainerd {

// Identity of this start of the machine; "" if the kernel does not report one.
std::string BootId();
// The identity of a process now, zombies included (a child that has already ended still has one).
// NotFound when there is no such process.
absl::StatusOr<internal::ProcessId> IdentifyProcess(pid_t pid);
// True only if exactly this process runs and is not a zombie.
bool IsAlive(const internal::ProcessId& id);
// Sends `signal` if exactly this process is alive (by pidfd, so that a reused pid is never hit; on
// a kernel without pidfd the identity is checked right before kill(2)). NotFound otherwise.
absl::Status KillProcess(const internal::ProcessId& id, int signal);

}  // namespace trainerd
