// SPDX-License-Identifier: Apache-2.0
#include "client/transfer/retry.h"

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "client/net/status_details.h"
#include "proto/base/status_macros.h"
#include "proto/base/time.h"

namespace trainerd::client {
namespace {

// A daemon that restarts is back in seconds.
constexpr absl::Duration kPatience = absl::Minutes(1);
constexpr absl::Duration kFirstPause = absl::Milliseconds(100);
constexpr absl::Duration kLongestPause = absl::Seconds(2);

}  // namespace

TransferRetry::TransferRetry(Connection& connection, std::function<bool()> is_interrupted)
    : connection_(connection),
      is_interrupted_(std::move(is_interrupted)),
      last_progress_(SteadyNow()),
      pause_(kFirstPause) {}

void TransferRetry::Progressed() {
  last_progress_ = SteadyNow();
  pause_ = kFirstPause;
}

absl::Status TransferRetry::CheckInterrupt() const {
  if (is_interrupted_ == nullptr || !is_interrupted_()) return absl::OkStatus();
  return absl::CancelledError("interrupted; the same command continues the transfer");
}

absl::Status TransferRetry::Continue(const absl::Status& why) {
  RETURN_IF_ERROR(CheckInterrupt());
  const std::optional<absl::Duration> delay = RetryDelay(why);
  // Too many streams at once; the other refusals do not end by themselves.
  const bool is_busy = Reason(why) == "WATCHERS";
  if (!IsConnectionLost(why) && !is_busy) return why;
  do {
    if (SteadyNow() - last_progress_ > kPatience) return why;
    absl::SleepFor(std::max(pause_, std::min(delay.value_or(pause_), kLongestPause)));
    pause_ = std::min(2 * pause_, kLongestPause);
    RETURN_IF_ERROR(CheckInterrupt());
  } while (!connection_.Reconnect().ok());
  return absl::OkStatus();
}

}  // namespace trainerd::client
