// SPDX-License-Identifier: Apache-2.0
// A curve in one line of text.
#pragma once

#include <string>

#include "absl/types/span.h"

namespace trainerd::client {

// Draws `values` from oldest to newest in at most `columns` columns; more values than columns are
// averaged per column. Scaled from the smallest to the largest value shown. A column without a
// finite value shows "x".
std::string Sparkline(absl::Span<const double> values, int columns, bool utf8 = true);

}  // namespace trainerd::client
