// SPDX-License-Identifier: Apache-2.0
// Numbers with units in human-readable text. Scripts read -o json instead: nothing parses this.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/time/time.h"

namespace trainerd {

// "12,345".
std::string FormatCount(int64_t value);
// A count with its noun: "1 step", "12,345 steps". `plural` is for a noun that takes no "s".
std::string Counted(int64_t count, std::string_view singular, std::string_view plural = "");
// Four significant digits: "1.9310", "1.234e-05"; "NaN", "inf".
std::string FormatNumber(double value);
// "1.80e-04", "0".
std::string FormatLearningRate(double value);
// A fraction of 0..1, rounded down: "43 %".
std::string FormatPercent(double fraction);
// Binary units: "512 B", "1.5 KiB", "2.5 GiB", "120 GiB".
std::string FormatBytes(int64_t bytes);
// To the second: "45s", "3m20s", "2h05m", "3d04h"; "0s" for a negative duration.
std::string FormatSpan(absl::Duration span);
// Shortest decimal digits that read back as `value`, which is finite: "0.1", "1e-05", "1e+30".
std::string FormatShortest(double value);
std::string FormatShortest(float value);

}  // namespace trainerd
