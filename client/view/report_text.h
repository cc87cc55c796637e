// SPDX-License-Identifier: Apache-2.0
// The data report of validate and submit as text.
#pragma once

#include <ostream>

#include "proto/contract/job_file/job_file.h"
#include "trainerd/v1/event.pb.h"

namespace trainerd::client {

bool HasErrors(const v1::DataReport& report);

// Whether every record was read: always for a full report, by its counts for a quick one.
bool AllWasRead(const v1::DataReport& report);

// Prints one line per finding: "error CODE (12 times): message [file:line …]". With `job`, a
// finding about a key of the job file lists that line first.
void PrintFindings(const v1::DataReport& report, std::ostream& out, const JobFile* job = nullptr);

// Prints what the job writes and what is free, as one line; nothing if the report lacks it.
void PrintDiskUse(const v1::DataReport& report, std::ostream& out);

// Prints counts, lengths and disk use, then the findings. Estimates of a quick report are marked,
// and its last line names the part of the data that was not read.
void PrintReport(const v1::DataReport& report, std::ostream& out, const JobFile* job = nullptr);

}  // namespace trainerd::client
