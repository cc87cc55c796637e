// SPDX-License-Identifier: Apache-2.0
// The data report of validate and submit as text.
#pragma once

#include <ostream>

#include "client/job_file.h"
#include "trainerd/v1/event.pb.h"

namespace trainerd::client {

bool HasErrors(const v1::DataReport& report);

// Whether every row of every file was read: of a full report always, of a quick one by its counts.
bool AllWasRead(const v1::DataReport& report);

// Findings alone, one a line: "error CODE (12 times): message [file:line …]". With `job` the line
// of the job file stands first among the places of what is cured there.
void PrintFindings(const v1::DataReport& report, std::ostream& out, const JobFile* job = nullptr);

// Counts and lengths, then the findings. What a quick report only estimates is said to be so, and
// what it did not look at is its last line.
void PrintReport(const v1::DataReport& report, std::ostream& out, const JobFile* job = nullptr);

}  // namespace trainerd::client
