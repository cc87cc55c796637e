// SPDX-License-Identifier: Apache-2.0
// Output that several commands share, and the exit code of a job's end.
#pragma once

#include <string>

#include "client/commands/common/context.h"
#include "trainerd/v1/job.pb.h"

namespace trainerd::client {

// Prints the job after a command: a document, or "jobs/ID STATE".
void PrintJobResult(const v1::Job& job, const Context& context);

// SUCCEEDED 0, FAILED 1, STOPPED and CANCELLED 3.
ExitCode ExitCodeOfEnd(v1::Job::State state);

// Prints how the job ended: an error with what to do to stderr; on a terminal where the result is.
// `error_printed`: the user has the error already, so only what to do is printed.
void PrintEnd(const v1::Job& job, const Context& context, bool error_printed = false);

// How a job ended that did not fail: "jobs/ID SUCCEEDED: the model is in PATH".
std::string EndLine(const v1::Job& job);

// For commands that wait for a job which itself waits: prints what for, on stderr.
void ReportWaiting(const v1::Job& job, const Context& context);

// Prints the active and the past alerts to stderr, one per line.
void ReportAlerts(const v1::Job& job, const Context& context);

// "diverged, plateau (past: loss_spike)", "-" without any.
std::string AlertTypes(const v1::Job& job);

// For commands that survive a lost connection; on stderr.
void ReportConnectionLost(const absl::Status& why, const Context& context);
void ReportReconnected(const Context& context);

}  // namespace trainerd::client
