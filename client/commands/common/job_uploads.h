// SPDX-License-Identifier: Apache-2.0
// submit --upload: the local files that a job names, sent to the daemon.
#pragma once

#include "absl/status/status.h"
#include "client/commands/common/context.h"
#include "trainerd/v1/job_config.pb.h"

namespace trainerd::client {

// Sends each local file that `config` names where an upload is possible (knob.upload), and names
// the upload instead. A path that is no local file stays: it names a file on the daemon's machine.
// Errors: of SendFile.
absl::Status SendFilesOf(Connection& connection, const Context& context, v1::JobConfig* config);

}  // namespace trainerd::client
