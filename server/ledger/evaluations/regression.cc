// SPDX-License-Identifier: Apache-2.0
#include "server/ledger/evaluations/regression.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/base/format.h"

namespace trainerd::server {
namespace {

using v1::Measurement;

constexpr double kMaxStandardErrors = 2;

double Worse(const Measurement& result, const Measurement& reference) {
  const double difference = reference.value() - result.value();
  return result.lower_is_better() ? -difference : difference;
}

// nullopt: a standard error is not known.
std::optional<double> ErrorOfDifference(const Measurement& a, const Measurement& b) {
  const std::optional<double> error_a = StandardErrorOf(a), error_b = StandardErrorOf(b);
  if (!error_a.has_value() || !error_b.has_value()) return std::nullopt;
  // std::hypot needs glibc 2.35, which the portable package does not require.
  return std::sqrt(*error_a * *error_a + *error_b * *error_b);
}

}  // namespace

std::optional<double> StandardErrorOf(const Measurement& metric) {
  if (metric.has_standard_error()) return metric.standard_error();
  const double value = metric.value();
  if (metric.sample_count() <= 0 || !(value >= 0 && value <= 1)) return std::nullopt;
  const double samples = static_cast<double>(metric.sample_count());
  const double half = 0.5 / samples;
  const double proportion = std::clamp(value, half, 1 - half);
  return std::sqrt(proportion * (1 - proportion) / samples);
}

bool IsBetter(const Measurement& a, const Measurement& b) {
  return a.lower_is_better() ? a.value() < b.value() : a.value() > b.value();
}

std::optional<double> Worsening(const Measurement& result, const Measurement& reference) {
  const std::optional<double> error = ErrorOfDifference(result, reference);
  if (!error.has_value()) return std::nullopt;
  const double worse = Worse(result, reference);
  if (*error > 0) return worse / *error;
  return worse == 0 ? 0 : std::copysign(std::numeric_limits<double>::infinity(), worse);
}

std::optional<Regression> FindRegression(const std::vector<Measurement>& results,
                                         const std::vector<Measurement>& references) {
  std::optional<Regression> found;
  double most = kMaxStandardErrors;
  for (const Measurement& result : results) {
    for (const Measurement& reference : references) {
      if (reference.name() != result.name()) continue;
      const std::optional<double> worsening = Worsening(result, reference);
      if (!worsening.has_value() || *worsening <= most) continue;
      most = *worsening;
      const double margin = kMaxStandardErrors * *ErrorOfDifference(result, reference);
      found =
          Regression{.result = result,
                     .reference = reference,
                     .bound = reference.value() + (result.lower_is_better() ? margin : -margin)};
    }
  }
  return found;
}

std::string RegressionText(const Regression& regression) {
  return absl::StrCat(regression.result.name(), " is ", FormatNumber(regression.result.value()),
                      ", worse than the earlier ", FormatNumber(regression.reference.value()),
                      " by more than two standard errors of the difference");
}

std::vector<Measurement> BestOfEach(const std::vector<Measurement>& all) {
  std::map<std::string, Measurement> best;
  for (const Measurement& metric : all) {
    const auto [it, added] = best.try_emplace(metric.name(), metric);
    if (!added && IsBetter(metric, it->second)) it->second = metric;
  }
  std::vector<Measurement> result;
  result.reserve(best.size());
  for (auto& [name, metric] : best) result.push_back(std::move(metric));
  return result;
}

}  // namespace trainerd::server
