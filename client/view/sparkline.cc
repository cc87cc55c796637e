// SPDX-License-Identifier: Apache-2.0
// Each column is the mean of an equal share of the values, so that a long curve keeps its shape.
#include "client/view/sparkline.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace trainerd::client {
namespace {

constexpr std::array<const char*, 8> kBlocks = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
constexpr std::array<const char*, 8> kAscii = {"_", ".", "-", "~", "=", "+", "*", "#"};

// Mean of the finite values of each column; NaN where a column has none.
std::vector<double> ColumnMeans(absl::Span<const double> values, int columns) {
  const int64_t count = static_cast<int64_t>(values.size());
  const int64_t used = std::min<int64_t>(columns, count);
  std::vector<double> means;
  for (int64_t column = 0; column < used; ++column) {
    double sum = 0;
    int finite = 0;
    for (int64_t i = column * count / used; i < (column + 1) * count / used; ++i) {
      if (!std::isfinite(values[i])) continue;
      sum += values[i];
      ++finite;
    }
    means.push_back(finite > 0 ? sum / finite : std::numeric_limits<double>::quiet_NaN());
  }
  return means;
}

}  // namespace

std::string Sparkline(absl::Span<const double> values, int columns, bool utf8) {
  if (values.empty() || columns <= 0) return "";
  const std::vector<double> means = ColumnMeans(values, columns);
  double low = std::numeric_limits<double>::infinity();
  double high = -low;
  for (double mean : means) {
    if (!std::isfinite(mean)) continue;
    low = std::min(low, mean);
    high = std::max(high, mean);
  }
  const auto& marks = utf8 ? kBlocks : kAscii;
  std::string line;
  for (double mean : means) {
    if (!std::isfinite(mean)) {
      line += "x";
      continue;
    }
    const double share = high > low ? (mean - low) / (high - low) : 0.0;
    line += marks[std::min<size_t>(marks.size() - 1, static_cast<size_t>(share * marks.size()))];
  }
  return line;
}

}  // namespace trainerd::client
