// SPDX-License-Identifier: Apache-2.0
// The data report of validate and submit as text.
#pragma once

#include <ostream>

#include "trainerd/v1/event.pb.h"

namespace trainerd::client {

bool HasErrors(const v1::DataReport& report);

// Findings alone, one a line: "error CODE (12 times): message [file:line …]".
void PrintFindings(const v1::DataReport& report, std::ostream& out);

// Counts and lengths, then the findings.
void PrintReport(const v1::DataReport& report, std::ostream& out);

}  // namespace trainerd::client
