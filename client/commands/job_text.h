// SPDX-License-Identifier: Apache-2.0
// What several commands say about a job, and the exit code of its end.
#pragma once

#include <string>

#include "client/commands/context.h"
#include "trainerd/v1/job.pb.h"

namespace trainerd::client {

// The job after a command: a document, or "jobs/ID STATE".
void PrintJobResult(const v1::Job& job, const Context& context);

// SUCCEEDED 0, FAILED 1, STOPPED and CANCELLED 3.
ExitCode ExitCodeOfEnd(v1::Job::State state);

// How the job ended: an error to stderr with what to do; on a terminal where the result is.
void PrintEnd(const v1::Job& job, const Context& context);

// What every command that outlasts a lost connection says about it, on stderr.
void ReportConnectionLost(const absl::Status& why, const Context& context);
void SayBack(const Context& context);

}  // namespace trainerd::client
