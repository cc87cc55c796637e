// SPDX-License-Identifier: Apache-2.0
#include "server/reconcile/tracked_attempt.h"

#include <algorithm>

#include "proto/base/status_macros.h"

namespace trainerd::server {
namespace {

constexpr absl::Duration kSettledEvery = absl::Seconds(1);
constexpr absl::Duration kChangingEvery = absl::Milliseconds(100);
constexpr absl::Duration kScanAgain = absl::Seconds(2);
constexpr absl::Duration kScanAgainMax = absl::Minutes(1);
constexpr absl::Duration kCloseAgain = absl::Seconds(2);

absl::Duration ScanDelay(int failures) {
  absl::Duration delay = kScanAgain;
  for (int i = 1; i < failures && delay < kScanAgainMax; ++i) delay *= 2;
  return std::min(delay, kScanAgainMax);
}

}  // namespace

absl::Duration Running::ObserveEvery() const {
  const bool settled = observation.has_value() &&
                       observation->kind == Observation::Kind::kRunning &&
                       delivered == internal::REQUESTED_ACTION_UNSPECIFIED;
  return settled ? kSettledEvery : kChangingEvery;
}

bool Running::Record(Observation newest, absl::Time now) {
  const bool unknown = newest.kind == Observation::Kind::kUnknown;
  const bool began = unknown && unknown_since == absl::InfiniteFuture();
  if (began) unknown_since = now;
  if (!unknown) unknown_since = absl::InfiniteFuture();
  observation = std::move(newest);
  return began;
}

bool Running::Record(const AttemptProbe::Delivery& delivery, absl::Time now) {
  const bool is_checkpoint = delivery.action == internal::CHECKPOINT;
  if (!delivery.status.ok()) {
    if (is_checkpoint) checkpoint_in_delivery = 0;
    const std::string error(delivery.status.message());
    return std::exchange(delivery_error, error) != error;
  }
  if (is_checkpoint) {
    checkpoint_delivered = checkpoint_in_delivery;
    return false;
  }
  delivered = delivery.action;
  delivered_at = now;
  delivery_error.clear();
  return false;
}

TrackedAttempt::TrackedAttempt(AttemptRef ref, std::shared_ptr<AttemptProbe> probe, int launches)
    : ref_(std::move(ref)), phase_(Running{.probe = std::move(probe), .launches = launches}) {}

template <typename Phase>
Phase TrackedAttempt::Leave() {
  TRAINERD_CHECK(std::holds_alternative<Phase>(phase_));
  return std::get<Phase>(std::move(phase_));
}

void TrackedAttempt::RecordLaunch(std::shared_ptr<AttemptProbe> probe) {
  Running running = Leave<Running>();
  ++running.launches;
  running.probe = std::move(probe);
  running.observation.reset();
  running.observation_requested_at = absl::InfinitePast();
  phase_ = std::move(running);
}

void TrackedAttempt::BeginEnding() {
  Running running = Leave<Running>();
  TRAINERD_CHECK(running.observation.has_value());
  phase_ = Ending{.end = *std::move(running.observation)};
}

void TrackedAttempt::BeginDraining() { phase_ = Draining{.end = Leave<Ending>().end}; }

void TrackedAttempt::BeginScanning() { phase_ = Scanning{.end = Leave<Draining>().end}; }

void TrackedAttempt::TakeScan(RunScan scan, bool discarded, absl::Time now) {
  Scanning scanning = Leave<Scanning>();
  if (scan.status.ok() || discarded) {
    if (!scan.status.ok()) scan = RunScan{};
    phase_ = Closing{.end = std::move(scanning.end),
                     .scan = std::move(scan),
                     .had_read_errors = scanning.failures > 0};
    return;
  }
  ++scanning.failures;
  scanning.slot.reset();
  scanning.next_scan = now + ScanDelay(scanning.failures);
  phase_ = std::move(scanning);
}

void TrackedAttempt::RecordCloseFailure(absl::Time now) {
  Closing closing = Leave<Closing>();
  ++closing.failures;
  closing.next_try = now + kCloseAgain;
  phase_ = std::move(closing);
}

bool TrackedAttempt::MayEndSoon() const {
  if (const Running* running = std::get_if<Running>(&phase_)) {
    return !running->observation.has_value();
  }
  if (const Scanning* scanning = std::get_if<Scanning>(&phase_)) return scanning->failures == 0;
  if (const Closing* closing = std::get_if<Closing>(&phase_)) {
    return !closing->had_read_errors && closing->failures == 0;
  }
  return true;
}

absl::Duration TrackedAttempt::StepEvery() const {
  const Running* running = std::get_if<Running>(&phase_);
  return running != nullptr ? running->ObserveEvery() : kChangingEvery;
}

}  // namespace trainerd::server
