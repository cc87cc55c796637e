// SPDX-License-Identifier: Apache-2.0
// `submit --sweep KEY=VALUE,VALUE …`: every combination of the values is one job of a group.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace trainerd::client {

// One job of a sweep.
struct SweepPoint {
  // "KEY=VALUE", as for --set, in the order of --sweep.
  std::vector<std::string> sets;
  // "learning_rate=1e-5-seed=2": what distinguishes the job's name.
  std::string suffix;
};

// The combinations; the values of the last --sweep change fastest. A comma in brackets, braces or
// quotes does not separate values. Errors: InvalidArgument for a text that is not
// KEY=VALUE,VALUE,…, a key that is swept twice, a value that is given twice, and more than 1000
// jobs.
absl::StatusOr<std::vector<SweepPoint>> ExpandSweep(const std::vector<std::string>& texts);

// `name` with the suffix, or with the number of the job, from 1, if that is longer than a name may
// be.
std::string SweepName(std::string_view name, const SweepPoint& point, size_t number);

}  // namespace trainerd::client
