// SPDX-License-Identifier: Apache-2.0
#include "proto/base/format.h"

#include <array>
#include <charconv>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace trainerd {
namespace {

template <typename Number>
std::string Shortest(Number value) {
  std::array<char, 64> buffer;
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
  return std::string(buffer.data(), end.ptr);
}

}  // namespace

std::string FormatCount(int64_t value) {
  const std::string digits = absl::StrCat(value < 0 ? -value : value);
  std::string result = value < 0 ? "-" : "";
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) result += ',';
    result += digits[i];
  }
  return result;
}

std::string Counted(int64_t count, std::string_view singular, std::string_view plural) {
  std::string text = FormatCount(count) + " ";
  if (count == 1) return text.append(singular);
  return plural.empty() ? text.append(singular).append("s") : text.append(plural);
}

std::string FormatNumber(double value) {
  if (!std::isfinite(value)) return std::isnan(value) ? "NaN" : (value > 0 ? "inf" : "-inf");
  const double size = std::fabs(value);
  if (size != 0 && (size < 1e-3 || size >= 1e6)) return absl::StrFormat("%.3e", value);
  return absl::StrFormat("%.*f", size >= 1000 ? 0 : (size >= 100 ? 1 : 4), value);
}

std::string FormatLearningRate(double value) {
  return value == 0 ? "0" : absl::StrFormat("%.2e", value);
}

std::string FormatPercent(double fraction) {
  return absl::StrFormat("%.0f %%", std::floor(fraction * 100));
}

std::string FormatBytes(int64_t bytes) {
  constexpr std::array<const char*, 6> kUnits = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (std::fabs(value) >= 1024 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  const int decimals = unit == 0 || value >= 100 ? 0 : 1;
  return absl::StrFormat("%.*f %s", decimals, value, kUnits[unit]);
}

std::string FormatSpan(absl::Duration span) {
  if (span < absl::ZeroDuration()) span = absl::ZeroDuration();
  if (span == absl::InfiniteDuration()) return "inf";
  const int64_t seconds = absl::ToInt64Seconds(span + absl::Milliseconds(500));
  if (seconds < 60) return absl::StrCat(seconds, "s");
  if (seconds < 3600) return absl::StrFormat("%dm%02ds", seconds / 60, seconds % 60);
  if (seconds < 86400) return absl::StrFormat("%dh%02dm", seconds / 3600, seconds / 60 % 60);
  return absl::StrFormat("%dd%02dh", seconds / 86400, seconds / 3600 % 24);
}

std::string FormatShortest(double value) { return Shortest(value); }
std::string FormatShortest(float value) { return Shortest(value); }

}  // namespace trainerd
