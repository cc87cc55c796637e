// SPDX-License-Identifier: Apache-2.0
// The revisions that two programs of possibly different builds agree on.
#pragma once

namespace trainerd {

// Revision of the public API (ServerInfo.api_revision). trainctl refuses a daemon of an older
// revision. Raise it once with each set of additions to the API.
//   2  Job.devices, Attempt.devices, Checkpoint.tokens; the words of a job file are enums
//   3  Job.alerts, Checkpoint.damage, DataReport.disk
inline constexpr int kApiRevision = 3;

// Versions of the protocol between daemon and shim that this build supports. A daemon must work
// with the shims of the two releases before it.
inline constexpr int kProtocolMin = 1;
inline constexpr int kProtocolMax = 1;

}  // namespace trainerd
