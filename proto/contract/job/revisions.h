// SPDX-License-Identifier: Apache-2.0
// Revisions of the interfaces between trainerd's programs.
#pragma once

namespace trainerd {

// ServerInfo.api_revision: what the daemon serves and what the client needs. Raise it with every
// addition to the public API.
//   2  Job.devices and Attempt.devices, Checkpoint.tokens; words of the job file are enums
inline constexpr int kApiRevision = 2;

}  // namespace trainerd
