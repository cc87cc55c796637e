// SPDX-License-Identifier: Apache-2.0
// The errors of commands, on stderr: text, or with -o json and -o jsonl one JSON document in one
// line, the last line of stderr:
// {"error": {"code": "NOT_FOUND", "reason": "JOB_NOT_FOUND", "message": …, "exit_code": 6}}.
// `violations` lists the faults of a job file, `findings` those of the data.
#pragma once

#include <vector>

#include "absl/status/status.h"
#include "client/commands/common/context.h"
#include "proto/contract/job_file/job_file.h"
#include "trainerd/v1/event.pb.h"

namespace trainerd::client {

// Prints the error of a call and returns its exit code. With `job`, faults of its configuration are
// printed as file:line: path: message.
ExitCode PrintError(const absl::Status& status, const Context& context,
                    const JobFile* job = nullptr);

// Prints wrong usage of the command line, and returns kUsage.
ExitCode PrintUsageError(const std::string& message, const Context& context);

// Prints what is wrong with the job file, sorted by line, and returns kUsage. Violations of --set
// name that option.
ExitCode PrintViolations(const JobFile& job, const Context& context);

// Prints that the checks of the data found errors, with the findings, and returns kUsage.
ExitCode PrintRefusedData(const v1::DataReport& report, const JobFile& job, const Context& context);

}  // namespace trainerd::client
