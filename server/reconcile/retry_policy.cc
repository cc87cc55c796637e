// SPDX-License-Identifier: Apache-2.0
#include "server/reconcile/retry_policy.h"

#include <algorithm>

namespace trainerd::server {
namespace {

constexpr double kSpread = 0.2;

}  // namespace

absl::Duration BackoffDelay(const BackoffOptions& options, int retry, double unit_random) {
  absl::Duration delay = options.first;
  for (int i = 1; i < retry && delay < options.max; ++i) delay *= 2;
  return std::min(delay, options.max) * (1.0 - kSpread + 2.0 * kSpread * unit_random);
}

absl::Duration LongestDelay(const BackoffOptions& options) { return options.max * (1.0 + kSpread); }

}  // namespace trainerd::server
