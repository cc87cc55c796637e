// SPDX-License-Identifier: Apache-2.0
// Whether an evaluation's result is worse than an earlier one by more than chance explains. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "trainerd/v1/checkpoint.pb.h"

namespace trainerd::server {

// The standard error of a measured value: the reported one, else that of a proportion for a value
// from 0 to 1 with a known number of samples. The proportion is taken as at least half a sample
// away from 0 and from 1, where the formula would give 0. nullopt: not known.
std::optional<double> StandardErrorOf(const v1::Measurement& metric);

// Whether `a` is better than `b`, in the direction that `a` states.
bool IsBetter(const v1::Measurement& a, const v1::Measurement& b);

// The difference in standard errors of the difference, positive where `result` is worse. nullopt: a
// standard error is not known.
std::optional<double> Worsening(const v1::Measurement& result, const v1::Measurement& reference);

struct Regression {
  v1::Measurement result;
  v1::Measurement reference;
  // The value that `result` would have had to pass: two standard errors worse than `reference`.
  double bound = 0;
};
// The metric of `results` that is worse than a reference of the same name by the most standard
// errors of the difference, and by more than two. nullopt: none.
std::optional<Regression> FindRegression(const std::vector<v1::Measurement>& results,
                                         const std::vector<v1::Measurement>& references);

// "acc is 0.61, which is worse than 0.72 of before by more than two standard errors".
std::string RegressionText(const Regression& regression);

// Of each name, the best of `all`.
std::vector<v1::Measurement> BestOfEach(const std::vector<v1::Measurement>& all);

}  // namespace trainerd::server
